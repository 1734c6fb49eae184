"""Which connection a request takes, what is sent twice, and which answers are not believed."""

from __future__ import annotations

import asyncio

import pytest

from moorings.clock import ManualClock, SystemClock
from moorings.errors import ConnectFailed
from moorings.http import Request
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import dialled, get, request_head, until, upstream
from tests.unit.proxy.proxied import OK, answering, proxied


async def test_connections_are_reused_and_idle_ones_closed_with_the_pool() -> None:
    async with proxied(answering(OK)) as p, dialled(p.front.port) as client:
        for _ in range(10):
            await client.ask(get())
        assert (p.behind.connections, p.pool.idle) == (1, 1)
        p.pool.close()
        await until(lambda: p.behind.closed == 1)
        assert (await client.ask(get())).status == 502
        assert p.ends == [1] * 11


async def once_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers, and drops the next request without an answer."""
    await request_head(reader)
    writer.write(OK)
    await request_head(reader)


async def test_safe_request_on_a_dead_pooled_connection_is_sent_again_on_a_new_one() -> None:
    async with proxied(once_then_close) as p, dialled(p.front.port) as client:
        assert [(await client.ask(get())).status for _ in range(4)] == [200] * 4
        assert p.behind.connections == 4
        assert p.ends == [1] * 4


async def test_unsafe_request_on_a_dead_pooled_connection_is_not_sent_again() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with proxied(once_then_close) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(post)).status == 502
        assert p.behind.connections == 1
        assert p.ends == [1, 1]


async def test_connection_that_the_upstream_closed_while_idle_is_not_used() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)

    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with proxied(once) as p, dialled(p.front.port) as client:
        for _ in range(3):
            assert (await client.ask(post)).status == 200
            await until(lambda: p.pool.open == 0)


async def test_unsafe_request_never_rides_on_a_connection_that_has_been_idle_for_long() -> None:
    clock = ManualClock()
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=clock, idle_timeout=30)

        async def send(method: str) -> int:
            assert (await forward(Request("http://a/", method=method), pool)).status == 200
            return behind.connections

        assert [await send("POST"), await send("POST")] == [1, 1]
        await clock.advance(2)
        assert await send("GET") == 1
        await clock.advance(2)
        assert await send("POST") == 2
        await clock.advance(32)
        await until(lambda: pool.open == 0)
        assert clock.pending == 0


async def test_new_connection_that_dies_is_not_tried_twice() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)

    async with proxied(never) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 502
        assert p.behind.connections == 1


async def test_refused_connection_is_connect_failed() -> None:
    async with upstream(answering(OK)) as behind:
        port = behind.port
    ends: list[int] = []
    pool = UpstreamPool("127.0.0.1", port, clock=SystemClock())
    with pytest.raises(ConnectFailed):
        await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
    assert ends == [1]


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    async with proxied(answering(OK + OK)) as p, dialled(p.front.port) as client:
        for n in range(3):
            assert (await client.ask(get())).body == b"ok"
            assert p.behind.connections == n + 1


async def test_bytes_on_an_idle_connection_close_it() -> None:
    push = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)
        await push.wait()
        writer.write(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with proxied(script) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 200
        push.set()
        await until(lambda: p.pool.open == 0)
        assert (await client.ask(get())).status == 200


MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "http 2": b"HTTP/2.0 200 OK\r\n\r\n",
    "length and coding": b"HTTP/1.1 200\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "bare lf": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok",
    "nul": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_answer_is_a_502_and_its_connection_closed(name: str) -> None:
    async with proxied(answering(MALFORMED[name])) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 502
        await until(lambda: p.pool.open == 0)
        assert p.ends == [1]


async def test_malformed_chunk_in_an_answer_aborts_the_client() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        await client.send(get())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert p.ends == [1]
