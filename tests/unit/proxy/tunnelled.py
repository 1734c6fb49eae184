"""A server that forwards upgrades to a scripted upstream, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from yarl import URL

from moorings.clock import Clock, SystemClock
from moorings.http import Request, Response
from moorings.proxy import ForwardedWebSocket, Tunnel, UpstreamPool, switch
from tests.support.frames import CLOSE, PING, PONG, Received, frame, split
from tests.unit.http.wire import PATIENCE, Client, Script, Served, get, request_head, served, upstream

ASK = get("/chat", "Connection: keep-alive, Upgrade\r\nUpgrade: chat\r\n")
ASK_WEBSOCKET = get("/chat", "Connection: Upgrade\r\nUpgrade: websocket\r\n")


def switching(protocol: str) -> bytes:
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\n".encode()
    )


@dataclass
class Tunnelled:
    """A server that forwards upgrades to a scripted upstream, and what it noticed of them."""

    front: Served
    pool: UpstreamPool
    clock: Clock
    exchanges: list[int] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    opened: list[ForwardedWebSocket] = field(default_factory=list)
    ended: list[Tunnel] = field(default_factory=list)
    stopping: bool = False
    held: list[Callable[[], None]] | None = None
    write_error: BaseException | None = None

    def gate(self, action: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        if self.write_error is not None:
            failed(self.write_error)
        elif self.held is None:
            action()
        else:
            self.held.append(action)

    def open(self, protocol: str, transport: asyncio.Transport, rest: bytes) -> Tunnel:
        clock = self.clock
        if protocol != "websocket":
            return Tunnel(
                transport, rest, clock=clock, on_activity=lambda: self.active.append(1), on_end=self.ended.append
            )
        return ForwardedWebSocket(
            transport,
            rest,
            url=URL("http://example.test/chat"),
            clock=clock,
            gate=self.gate,
            stopping=lambda: self.stopping,
            on_activity=lambda: self.active.append(1),
            on_open=self.opened.append,
            on_end=self.ended.append,
        )


Change = Callable[[Response], Response]


@asynccontextmanager
async def tunnelled(
    script: Script, change: Change = lambda response: response, *, clock: Clock | None = None
) -> AsyncIterator[Tunnelled]:
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            return change(await switch(request, pool, t.open, on_end=lambda: t.exchanges.append(1)))

        async with served(handler) as front:
            t = Tunnelled(front, pool, clock or SystemClock())
            yield t
        pool.abort()


def accepting(protocol: str, then: Script, heads: list[bytes] | None = None, *, more: bytes = b"") -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request_head(reader)
        if heads is not None:
            heads.append(head)
        writer.write(switching(protocol) + more)
        await then(reader, writer)

    return script


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in capitals, and after the end of what came with a last word."""
    while data := await reader.read(65536):
        writer.write(data.upper())
    writer.write(b"LAST")


async def echo_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back the payloads of short masked frames, and answers a close frame as a server does."""
    while True:
        first, second = await reader.readexactly(2)
        key = await reader.readexactly(4)
        masked = await reader.readexactly(second & 0x7F)
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
        writer.write(frame(first & 0x0F if first & 0x0F != PING else PONG, payload, fin=first > 127, mask=None))
        if first & 0x0F == CLOSE:
            return


async def switched(client: Client, ask: bytes) -> list[tuple[str, str]]:
    await client.send(ask)
    status, headers = await client.head()
    assert status == 101
    return headers


async def next_frame(client: Client) -> Received:
    """The next short frame."""
    async with asyncio.timeout(PATIENCE):
        head = await client.reader.readexactly(2)
        (found,), _ = split(head + await client.reader.readexactly(head[1]))
        return found
