"""HTTP/2 frames byte by byte, good and bad ones, and a client that sends them and tells what came back (RFC 9113).

Field blocks are written as literals without indexing, so that a block is the same bytes wherever it stands and may hold
what no library would encode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = range(1, 7)
NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED = range(8)
CANCEL, COMPRESSION, CONNECT_ERROR, CALM = 8, 9, 10, 11
PATIENCE = 10.0

Field = tuple[bytes, bytes]
GET: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"test.example"),
)
POST: tuple[Field, ...] = ((b":method", b"POST"), *GET[1:])


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame; ``length`` replaces the length as it should be."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An integer of HPACK (RFC 7541, 5.1) in the low ``bits`` of a byte whose others are ``first``."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(fields: Iterable[Field]) -> bytes:
    """A field block of literals without indexing."""
    out = b""
    for name, value in fields:
        out += b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value
    return out


def headers(
    stream: int = 1,
    fields: Iterable[Field] = GET,
    *,
    flags: int = END_STREAM | END_HEADERS,
    extra: Iterable[Field] = (),
) -> bytes:
    """A HEADERS frame of a whole request, unless ``flags`` say otherwise."""
    return frame(HEADERS, flags, stream, block((*fields, *extra)))


def post(stream: int = 1, *extra: Field, path: bytes = b"/") -> bytes:
    """The head of a POST whose body follows."""
    fields = [(name, path if name == b":path" else value) for name, value in POST]
    return headers(stream, fields, flags=END_HEADERS, extra=extra)


def get(stream: int = 1, path: bytes = b"/", *extra: Field) -> bytes:
    """A GET."""
    return headers(stream, [(name, path if name == b":path" else value) for name, value in GET], extra=extra)


def data(stream: int, payload: bytes = b"", flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def ping(payload: bytes = b"sentinel") -> bytes:
    return frame(PING, payload=payload)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that came from the server."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload[:4], "big")

    @property
    def last_stream(self) -> int:
        return int.from_bytes(self.payload[:4], "big")


@dataclass
class Exchange:
    """What came for one stream."""

    heads: list[list[Field]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int | None:
        """The status of the final head."""
        for head in self.heads:
            status = int(dict(head).get(b":status", b"100"))
            if status >= 200:
                return status
        return None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    def get(self, name: bytes) -> bytes | None:
        final = next((h for h in self.heads if int(dict(h).get(b":status", b"100")) >= 200), [])
        return dict(final).get(name)


class Client:
    """A raw HTTP/2 client. It answers nothing by itself but keeps the connection's window open, unless told not to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, greedy: bool = True) -> None:
        self.reader = reader
        self.writer = writer
        self.frames: list[Frame] = []
        self.exchanges: dict[int, Exchange] = {}
        self.goaways: list[Frame] = []
        self.ended = False
        self._greedy = greedy
        self._decoder = Decoder()
        self._block: tuple[int, int, bytes] | None = None

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended = True
            return None
        got = Frame(head[3], head[4], int.from_bytes(head[5:9], "big"), payload)
        self.frames.append(got)
        self._note(got)
        return got

    def _note(self, got: Frame) -> None:
        exchange = self.exchanges.setdefault(got.stream, Exchange()) if got.stream else Exchange()
        if got.kind == GOAWAY:
            self.goaways.append(got)
        elif got.kind == RST_STREAM:
            exchange.reset = got.code
        elif got.kind == DATA:
            exchange.body += got.payload
            exchange.ended = bool(got.flags & END_STREAM)
            if self._greedy and got.payload and not self.writer.is_closing():
                size = len(got.payload)
                self.writer.write(window_update(0, size) + (b"" if exchange.ended else window_update(got.stream, size)))
        elif got.kind in (HEADERS, CONTINUATION):
            first = got.flags if self._block is None else self._block[1]
            fields = got.payload if self._block is None else self._block[2] + got.payload
            self._block = (got.stream, first, fields)
            if got.flags & END_HEADERS:
                self._block = None
                exchange.heads.append([(bytes(n), bytes(v)) for n, v in self._decoder.decode(fields, raw=True)])
                exchange.ended = bool(first & END_STREAM)

    async def exchange(self, stream: int = 1) -> Exchange:
        """What came for a stream, once it is over, or the connection is."""
        while not (done := self.exchanges.setdefault(stream, Exchange())).over:
            if await self.frame() is None:
                break
        return done

    async def head(self, stream: int = 1) -> Exchange:
        """What came for a stream, once its final head has."""
        while (got := self.exchanges.setdefault(stream, Exchange())).status is None and not got.over:
            if await self.frame() is None:
                break
        return got

    async def alive(self, payload: bytes = b"sentinel") -> bool:
        """Whether the server answers a PING; all that it sent before has been read then."""
        try:
            await self.send(ping(payload))
        except ConnectionError:
            self.ended = True
        while not self.ended:
            got = await self.frame()
            if got is not None and got.kind == PING and got.flags & ACK and got.payload == payload:
                return True
        return False

    async def rest(self) -> None:
        """Read until the connection has ended."""
        while await self.frame() is not None:
            pass


@asynccontextmanager
async def connected(
    port: int, *pairs: tuple[int, int], greedy: bool = True, handshake: bool = True
) -> AsyncIterator[Client]:
    """A client whose preface is sent, its SETTINGS with ``pairs``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer, greedy=greedy)
    try:
        if handshake:
            await client.send(PREFACE, settings(*pairs), frame(SETTINGS, ACK))
        yield client
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
