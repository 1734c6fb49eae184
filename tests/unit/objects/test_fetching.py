"""``moorings.fetch``: who may call it, and what it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorings import DurableObject, fetch
from moorings.clock import SystemClock
from moorings.http import HttpClient
from moorings.objects.fetching import use_client
from tests.unit.objects.stored import held


class Outside:
    """A server that remembers the request lines it has seen."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen.append(head.split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    there = Outside()
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    there.url = f"http://{host}:{port}/x"
    client = HttpClient(clock=SystemClock())
    use_client(client)
    try:
        yield there
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


async def test_it_brings_an_answer_from_outside(outside: Outside) -> None:
    assert await (await fetch(outside.url, method="POST", json={"a": 1})).text() == "hello"
    assert outside.seen == [b"POST /x HTTP/1.1"]


async def test_without_a_platform_it_says_where_it_works() -> None:
    with pytest.raises(RuntimeError, match="that a platform runs"):
        await fetch("http://127.0.0.1:1/")


async def test_from_an_object_it_leaves_when_the_writes_before_it_are_durable(outside: Outside, tmp_path: Path) -> None:
    class Teller(DurableObject):
        async def tell(self, url: str) -> str:
            self.ctx.storage.put("told", url)
            return await (await fetch(url)).text()

    async with held(tmp_path) as disk:
        teller: Any = disk.namespace(Teller).get_by_name("a")
        disk.hold()
        telling = asyncio.ensure_future(teller.tell(outside.url))
        await disk.settle()
        assert outside.seen == []
        disk.release()
        assert await telling == "hello"
        assert outside.seen == [b"GET /x HTTP/1.1"]
