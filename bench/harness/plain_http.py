"""One request at a time over a keep-alive connection, at little cost of its own: for what is measured singly."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from bench.harness.process import BenchError


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class Connection:
    """A connection to `url`, made at once; OSError where nobody listens. Answers must have a Content-Length."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        address = urlsplit(url)
        self._host = address.netloc
        self._socket = socket.create_connection((address.hostname, address.port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET and read its answer. Raises OSError, or BenchError where the answer ends early."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{fields}\r\n".encode())
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        length = 0
        for line in data[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = data[end + 4 :]
        while len(body) < length:
            body += self._more()
        return Answer(int(data[9:12]), body)

    def good(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Answer:
        """`get`, whose answer must have status 200. Raises BenchError."""
        answer = self.get(path, headers)
        if answer.status != 200:
            raise BenchError(f"status {answer.status}: {answer.body[:500]!r}")
        return answer

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise BenchError("the connection was closed before the answer was whole")
        return data
