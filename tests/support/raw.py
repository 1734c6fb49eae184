"""A raw HTTP/1.1 client: sends exactly the bytes it is given and tells exactly what came back.

Libraries hide what these tests are about: they repair heads, retry, decode, and take a reset for a clean end. This one
is strict on the answer (RFC 9112) and keeps three endings apart: closed, reset, still open. It reads the socket itself,
because what arrived before a reset is still readable there, while asyncio's streams throw it away.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Address = tuple[str, int]
HeaderList = Sequence[tuple[str, str]]

_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?")
_READ = 256 * 1024


class Ending(Enum):
    """How a connection stands after the bytes that were read."""

    CLOSED = "closed"
    RESET = "reset"
    OPEN = "open"


class Framing(Enum):
    """What tells where the body ends (RFC 9112, 6.3)."""

    NONE = "none"
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "close"


class MalformedAnswer(Exception):
    """The answer is not HTTP/1.1."""


class Truncated(Exception):
    """The connection ended inside an answer; ``partial`` holds the body so far (the head so far, inside the head)."""

    def __init__(self, where: str, partial: bytes, ending: Ending) -> None:
        super().__init__(f"connection {ending.value} {where}, after {len(partial)} bytes: {partial[-200:]!r}")
        self.partial = partial
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer; header names as sent, in order."""

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    framing: Framing

    def all(self, name: str) -> list[str]:
        """Every value of the header ``name``, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The first value of the header ``name``."""
        return next(iter(self.all(name)), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    head: Head
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self.head.headers

    def header(self, name: str) -> str | None:
        return self.head.header(name)

    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str,
    target: str,
    headers: HeaderList | Mapping[str, str] = (),
    body: bytes | None = None,
    *,
    host: str = "test.example",
) -> bytes:
    """The bytes of a well-formed request; adds Host and, with a body, Content-Length, where they are not given."""
    fields = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", host))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def chunked(pieces: Iterable[bytes], trailers: HeaderList = ()) -> bytes:
    """``pieces`` in chunked coding, one chunk each."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return data + b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1") + b"\r\n"


class Connection:
    """One connection to a server. A context manager: leaving it closes the socket.

    ``timeout`` (seconds) bounds every single wait and raises TimeoutError: a test never hangs.
    """

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._buffer = bytearray()
        self._ending = Ending.OPEN
        self.interim: list[Head] = []

    @classmethod
    async def open(cls, address: Address, *, timeout: float = 20.0) -> Connection:
        """Connect to ``address``, without Nagle's delay."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return cls(sock, timeout)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def local_port(self) -> int:
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def surplus(self) -> bytes:
        """What was received and belongs to no answer read so far."""
        return bytes(self._buffer)

    def close(self) -> None:
        """Close politely (FIN); idempotent."""
        self._sock.close()

    def abort(self) -> None:
        """Close with a reset, as a killed client or a pulled cable with a firewall does."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def end_of_sending(self) -> None:
        """Half-close: no more bytes will be sent, the answer can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def shrink_receive_buffer(self, size: int) -> None:
        """Let the kernel take at most about ``size`` bytes that were not read yet."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; raises ConnectionError where the peer has gone."""
        async with asyncio.timeout(self._timeout):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def offer(self, data: bytes, *, piece: int | None = None) -> None:
        """Send ``data`` in pieces of ``piece`` bytes, as far as the peer takes it: it may refuse early."""
        try:
            if piece is None:
                await self.send(data)
                return
            for start in range(0, len(data), piece):
                await self.send(data[start : start + piece])
                await asyncio.sleep(0)
        except ConnectionError:
            return

    async def receive(self, method: str = "GET") -> Answer:
        """The next complete answer to a request with ``method``; interim (1xx) ones are kept in ``interim``.

        Raises Truncated where the connection ends inside it, MalformedAnswer and TimeoutError.
        """
        head = await self.receive_head(method)
        pieces: list[bytes] = []
        trailers: tuple[tuple[str, str], ...] = ()
        try:
            async for piece in self.body(head):
                pieces.append(piece)
        except Truncated as cut:
            raise Truncated("inside the body", b"".join(pieces), cut.ending) from None
        if head.framing is Framing.CHUNKED:
            trailers = await self._trailers()
        return Answer(head, b"".join(pieces), trailers)

    async def receive_head(self, method: str = "GET") -> Head:
        """The head of the next final answer."""
        while True:
            raw = await self._until(b"\r\n\r\n", "inside the head")
            head = _parse_head(raw, method)
            if head.status >= 200:
                return head
            self.interim.append(head)

    async def receive_interim(self) -> Head:
        """The next 1xx head, which must be the next thing that arrives."""
        head = _parse_head(await self._until(b"\r\n\r\n", "inside the head"), "GET")
        if head.status >= 200:
            raise MalformedAnswer(f"expected a 1xx answer, got {head.status}")
        return head

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """The body after ``head``, in the pieces that arrive. Ends before the trailers of a chunked one."""
        if head.framing is Framing.LENGTH:
            async for piece in self._exactly(int(head.header("content-length") or 0)):
                yield piece
        elif head.framing is Framing.CLOSE:
            while piece := await self._some():
                yield piece
            if self._ending is Ending.RESET:
                raise Truncated("inside a body that a close should end", b"", self._ending)
        elif head.framing is Framing.CHUNKED:
            while size := self._chunk_size(await self._until(b"\r\n", "inside a chunk size")):
                async for piece in self._exactly(size):
                    yield piece
                if await self._until(b"\r\n", "after a chunk") != b"":
                    raise MalformedAnswer("a chunk is longer than its size")

    async def ending(self, *, within: float = 5.0) -> Ending:
        """How the connection ends; OPEN where nothing ends it ``within`` seconds. What arrives is in ``surplus``."""
        try:
            async with asyncio.timeout(within):
                while await self._fill():
                    pass
        except TimeoutError:
            return Ending.OPEN
        return self._ending

    async def arrival(self, enough: Callable[[bytes], bool]) -> None:
        """Wait until ``enough(surplus)``. Raises Truncated where the connection ends before."""
        while not enough(self.surplus):
            if not await self._fill():
                raise Truncated("while more was awaited", self.surplus, self._ending)

    # --- bytes ------------------------------------------------------------------------------------------------------

    async def _fill(self) -> bool:
        """Read once; False where the connection has ended."""
        if self._ending is not Ending.OPEN:
            return False
        try:
            async with asyncio.timeout(self._timeout):
                data = await asyncio.get_running_loop().sock_recv(self._sock, _READ)
        except ConnectionError:
            self._ending = Ending.RESET
            return False
        if not data:
            self._ending = Ending.CLOSED
            return False
        self._buffer += data
        return True

    async def _some(self) -> bytes:
        if not self._buffer:
            await self._fill()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            if not self._buffer and not await self._fill():
                raise Truncated(f"{size} bytes before the end of a body or chunk", b"", self._ending)
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            size -= len(piece)
            yield piece

    async def _until(self, mark: bytes, where: str) -> bytes:
        searched = 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark))
            if not await self._fill():
                raise Truncated(where, bytes(self._buffer), self._ending)
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return data

    @staticmethod
    def _chunk_size(line: bytes) -> int:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise MalformedAnswer(f"bad chunk size {line!r}")
        return int(match[1], 16)

    async def _trailers(self) -> tuple[tuple[str, str], ...]:
        found = []
        while line := await self._until(b"\r\n", "inside the trailers"):
            found.append(_parse_field(line))
        return tuple(found)


def _parse_field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) or re.search(rb"[\x00\r\n]", value):
        raise MalformedAnswer(f"bad header line {line!r}")
    return name.decode("ascii"), value.strip(b" \t").decode("latin-1")


def _parse_head(raw: bytes, method: str) -> Head:
    first, *lines = raw.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise MalformedAnswer(f"bad status line {first[:200]!r}")
    status = int(match[2])
    headers = tuple(_parse_field(line) for line in lines)
    framing = _framing(status, method, headers)
    return Head(match[1].decode(), status, (match[3] or b"").decode("latin-1"), headers, framing)


def _framing(status: int, method: str, headers: HeaderList) -> Framing:
    codings = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    if len(lengths) > 1 or (codings and lengths):
        raise MalformedAnswer(f"ambiguous framing: {codings} {lengths}")
    if not all(re.fullmatch("[0-9]+", length) for length in lengths):
        raise MalformedAnswer(f"bad Content-Length {lengths}")
    if method == "HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE
    if codings:
        if codings != ["chunked"]:
            raise MalformedAnswer(f"unknown transfer coding {codings}")
        return Framing.CHUNKED
    return Framing.LENGTH if lengths else Framing.CLOSE


async def exchange(address: Address, data: bytes, *, method: str = "GET", timeout: float = 20.0) -> Answer:
    """Send ``data``, one request, on a connection of its own, and return the complete answer to it."""
    with await Connection.open(address, timeout=timeout) as connection:
        await connection.send(data)
        return await connection.receive(method)


async def get(address: Address, target: str, headers: HeaderList | Mapping[str, str] = (), **options: Any) -> Answer:
    """GET ``target`` on a connection of its own."""
    return await exchange(address, request("GET", target, headers), **options)
