"""A server that forwards everything to a scripted upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from moorings.clock import SystemClock
from moorings.http import Request, Response
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import Script, Served, Upstream, request_head, served, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Proxied:
    """A server that forwards everything to a scripted upstream."""

    front: Served
    behind: Upstream
    pool: UpstreamPool
    ends: list[int] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def proxied(script: Script, *, trusted: tuple[str, ...] = ()) -> AsyncIterator[Proxied]:
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        ends: list[int] = []

        async def handler(request: Request) -> Response:
            return await forward(request, pool, on_end=lambda: ends.append(1))

        async with served(handler, trusted=trusted) as front:
            yield Proxied(front, behind, pool, ends)
        pool.abort()


def answering(data: bytes, heads: list[bytes] | None = None) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            if heads is not None:
                heads.append(head)
            writer.write(data)

    return script


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    await reader.read()


async def begin_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await reader.read()


async def begin_and_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    await asyncio.sleep(0.01)
    writer.write(b"more!!")
    await reader.read()
