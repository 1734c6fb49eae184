"""WebSocket frames byte by byte, good and bad ones, and a client that sends them (RFC 6455)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.raw import Address, Connection, Ending, MalformedAnswer, request

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: bytes | None = None,
) -> bytes:
    """A frame; ``length`` replaces the length as it should be (with its 7 bits first, without the mask bit)."""
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes((size,))
        elif size < 1 << 16:
            length = b"\x7e" + size.to_bytes(2, "big")
        else:
            length = b"\x7f" + size.to_bytes(8, "big")
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if mask is None:
        return bytes((first,)) + length + payload
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return bytes((first, 0x80 | length[0])) + length[1:] + mask + masked


def close(code: int = 1000, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


@dataclass(frozen=True, slots=True)
class Received:
    """A frame that came from the server."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def close_code(self) -> int:
        return int.from_bytes(self.payload[:2], "big")


def split(data: bytes) -> tuple[list[Received], bytes]:
    """The whole unmasked frames at the start of ``data``, and what follows them."""
    frames = []
    while len(data) >= 2:
        size = data[1] & 0x7F
        if data[1] & 0x80:
            raise MalformedAnswer("a frame from a server is masked")
        at = 2 if size < 126 else 4 if size == 126 else 10
        if len(data) < at:
            break
        if at > 2:
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            break
        frames.append(Received(data[0], data[at : at + size]))
        data = data[at + size :]
    return frames, data


class Socket:
    """A WebSocket client that sends bytes and tells which frames came. A context manager."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._taken = 0

    @classmethod
    async def open(
        cls, address: Address, target: str = "/", headers: tuple[tuple[str, str], ...] = (), *, early: bytes = b""
    ) -> Socket:
        """Shake hands; ``early`` is sent in one piece with the handshake. Asserts the 101."""
        connection = await Connection.open(address)
        await connection.send(request("GET", target, (*HANDSHAKE, *headers)) + early)
        head = await connection.receive_interim()
        assert head.status == 101, head
        return cls(connection)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    async def send(self, data: bytes) -> None:
        await self.connection.send(data)

    async def frame(self) -> Received:
        """The next frame."""
        wanted = self._taken + 1
        await self.connection.arrival(lambda data: len(split(data)[0]) >= wanted)
        self._taken = wanted
        return split(self.connection.surplus)[0][wanted - 1]

    async def rest(self) -> tuple[list[Received], bytes, Ending]:
        """All frames of the connection once it has ended, bytes of an unfinished one, and how it ended."""
        ending = await self.connection.ending(within=15.0)
        frames, left = split(self.connection.surplus)
        return frames, left, ending
