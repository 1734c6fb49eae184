"""Pools that are closed or aborted: what is in progress breaks off visibly, and no task is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorings.clock import SystemClock
from moorings.errors import UpstreamError
from moorings.http import HttpClient, Request
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import dialled, get, request_head, until, upstream
from tests.unit.proxy.proxied import hang, proxied

HEADS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "until close": b"HTTP/1.1 200 OK\r\n\r\n",
}


class Parts:
    """A body made in Python that never ends, and takes a while to be put away."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            self.began.set()
            yield b"one"
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.ended = True


@pytest.mark.parametrize("name", HEADS)
async def test_container_that_ends_while_its_client_does_not_read_aborts_the_client(name: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(HEADS[name])
        while True:
            writer.write(b"%x\r\n%b\r\n" % (65536, bytes(65536)) if name == "chunked" else bytes(65536))
            await writer.drain()

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(get())
        await client.head()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a Transport, not only a WriteTransport
        (connection,) = p.pool._connections
        await until(lambda: connection._stream is not None and connection._stream._paused)
        p.pool.abort()
        await until(lambda: p.ends == [1] and not p.front.server.connections)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.rest()


async def test_aborted_pool_waits_for_uploads_made_in_python() -> None:
    async with upstream(hang) as behind:
        pool, parts = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock()), Parts()
        task = asyncio.ensure_future(forward(Request("http://a/", method="POST", body=aiter(parts)), pool))
        await parts.began.wait()
        pool.abort()
        await pool.wait_closed()
        assert parts.ended
        assert not pool.busy
        with pytest.raises(UpstreamError):
            await task


async def test_closed_client_has_waited_for_uploads_made_in_python() -> None:
    async with upstream(hang) as behind:
        http, parts = HttpClient(clock=SystemClock()), Parts()
        url = f"http://127.0.0.1:{behind.port}/"
        task = asyncio.ensure_future(http.fetch(url, method="POST", body=aiter(parts)))
        await parts.began.wait()
        await http.close()
        assert parts.ended
        with pytest.raises(UpstreamError):
            await task


async def test_upload_made_in_python_is_put_away_when_the_answer_does_not_wait_for_it() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with upstream(script) as behind:
        pool, parts = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock()), Parts()
        answer = await forward(Request("http://a/", method="POST", body=aiter(parts)), pool)
        assert answer.status == 413
        pool.close()
        await pool.wait_closed()
        assert parts.ended


async def test_attempt_to_connect_whose_caller_was_cancelled_has_ended_when_the_pool_is_closed() -> None:
    async with upstream(hang) as behind:
        for turns in range(6):
            pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
            task = asyncio.ensure_future(forward(Request("http://a/"), pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            pool.abort()
            await pool.wait_closed()
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "moorings-connect"]


async def test_request_whose_connection_is_being_made_fails_when_the_pool_is_aborted() -> None:
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool))
        await until(lambda: pool.busy)
        pool.abort()
        with pytest.raises(UpstreamError):
            await task
        await pool.wait_closed()
        await until(lambda: pool.open == 0)
