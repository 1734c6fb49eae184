"""Asks a platform that runs, over the admin socket in its data folder.

``http.client`` on a Unix socket: no event loop, so a command answers as quickly as Python starts.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from moorings.server.admin.address import reachable, socket_path

_CONNECT: Final = 5.0  # seconds


class NoPlatform(Exception):
    """No platform can be asked; the message says where it was looked for, and what to do."""


class AdminError(Exception):
    """The platform refused; ``problem`` has its problem details (RFC 9457) with ``code`` and ``status``."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or "the platform refused without a reason")
        self.problem = dict(problem)

    @property
    def code(self) -> str:
        """What a program matches on."""
        return str(self.problem.get("code", ""))


class AdminClient:
    """One platform. Each call has a connection of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def call(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The answer of an operation. Raises AdminError and NoPlatform."""
        with Exchange(self.data, path, params) as exchange:
            return exchange.value()

    def stream(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """The values that a streaming operation answers with, as they come. Raises AdminError and NoPlatform."""
        with Exchange(self.data, path, params) as exchange:
            yield from exchange.values()

    def exchange(self, path: str, params: Mapping[str, Any] | None = None) -> Exchange:
        """A streaming operation that is given further lines while it answers."""
        return Exchange(self.data, path, params, input_follows=True)


class Exchange:
    """One request and its answer; a context manager. ``send`` may be called from any thread."""

    def __init__(self, data: Path, path: str, params: Mapping[str, Any] | None, *, input_follows: bool = False) -> None:
        self._data = data
        self._response: http.client.HTTPResponse | None = None
        body = _encoded(params or {})
        self._sending = threading.Lock()
        self._connection = http.client.HTTPConnection("moorings")
        self._connection.sock = connected(data)
        try:
            if input_follows:
                self._connection.putrequest("POST", path)
                self._connection.putheader("Transfer-Encoding", "chunked")
                self._connection.endheaders()
                self._send(body)
            else:
                self._connection.request("POST", path, body)
        except OSError as error:
            self.close()
            raise gone(data) from error

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Break it off, wherever it is: the platform ends what it was doing. Idempotent."""
        self._connection.close()
        if self._response is not None:
            self._response.close()

    def send(self, value: object) -> None:
        """Give the operation a further line. Raises OSError where the platform doesn't take it any more."""
        self._send(json.dumps(value).encode() + b"\n")

    def send_end(self) -> None:
        """No further line follows. Raises OSError."""
        with self._sending:
            self._connection.send(b"0\r\n\r\n")

    def _send(self, chunk: bytes) -> None:
        with self._sending:
            self._connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def value(self) -> Any:
        """The whole answer."""
        response = self._head()
        try:
            return json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise gone(self._data) from error

    def values(self) -> Iterator[Any]:
        """The answer's lines."""
        response = self._head()
        rest = b""
        while data := self._read(response):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                value = json.loads(line)
                if isinstance(value, dict) and "error" in value:
                    raise AdminError(value["error"])
                yield value

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """What has come of the body; empty at its end, and at no other time (unlike ``readline`` and iteration)."""
        try:
            return response.read1(65536)
        except (OSError, http.client.HTTPException) as error:
            raise gone(self._data) from error

    def _head(self) -> http.client.HTTPResponse:
        try:
            response = self._response = self._connection.getresponse()
            problem = None if response.status < 400 else response.read()
        except (OSError, http.client.HTTPException) as error:
            raise gone(self._data) from error
        if problem is not None:
            raise AdminError(_problem(problem, response.status))
        return response


def connected(data: Path) -> socket.socket:
    """A connection to the platform that runs on a data folder. Raises NoPlatform."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connecting.settimeout(_CONNECT)
    try:
        with reachable(data) as address:
            connecting.connect(address)
    except PermissionError as error:
        connecting.close()
        raise NoPlatform(
            f"the platform of {data} belongs to somebody else: {socket_path(data)} can't be opened; "
            "run this as the user who runs the platform"
        ) from error
    except OSError as error:
        connecting.close()
        raise NoPlatform(f"no platform runs on {data}") from error
    connecting.settimeout(None)
    return connecting


def first_running(folders: Sequence[Path]) -> AdminClient:
    """The platform on the first of these data folders that has one. Raises NoPlatform."""
    refused: NoPlatform | None = None
    for data in folders:
        try:
            connected(data).close()
        except NoPlatform as error:
            if isinstance(error.__cause__, PermissionError):
                refused = refused or error
            continue
        return AdminClient(data)
    if refused is not None:
        raise refused
    looked = " or ".join(map(str, folders))
    raise NoPlatform(
        f"no platform runs on the data folder {looked}; start one with moorings dev or moorings serve, or name the "
        "one you mean: --file WORKER.PY, or --data-dir FOLDER where it was given one"
    )


def _encoded(params: Mapping[str, Any]) -> bytes:
    """Parameters as a line of JSON. Raises AdminError for a text that was no UTF-8 as an argument."""
    try:
        return json.dumps(params, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        begin, end = error.object.rfind('"', 0, error.start) + 1, error.object.find('"', error.end)
        detail = f"{error.object[begin:end]!r:.200} is no UTF-8"
        raise AdminError({"title": "bad request", "status": 400, "detail": detail, "code": "bad_request"}) from None


def gone(data: Path) -> NoPlatform:
    """The platform went away in the middle."""
    return NoPlatform(f"the platform of {data} went away before it had answered; is it being stopped?")


def _problem(body: bytes, status: int) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"detail": f"the platform answered with status {status}"}
