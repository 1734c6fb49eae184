"""Every exchange ends once, however it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from functools import partial

import pytest

from moorings.clock import SystemClock
from moorings.errors import ClientDisconnected, UpstreamError
from moorings.http import Request, Response
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import PATIENCE, Script, dialled, get, request_head, served, until, upstream
from tests.unit.proxy.proxied import OK, Proxied, answering, begin_and_end, begin_and_hang, hang, proxied

SHORT = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
}


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_upstream_that_dies_in_its_answer_aborts_the_client(name: str, version: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(SHORT[name])

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(get(version=version))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await until(lambda: p.ends == [1])


async def test_upstream_that_resets_a_close_delimited_answer_aborts_the_client() -> None:
    arrived = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await arrived.wait()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(get())
        await client.head()
        assert await asyncio.wait_for(client.reader.readexactly(9), PATIENCE) == b"4\r\nsome\r\n"
        arrived.set()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(client.reader.readexactly(1), PATIENCE)
        await until(lambda: p.ends == [1])


def under_way(proxied: Proxied) -> bool:
    """Whether a connection carries a request: one that was merely made stays in the pool."""
    return any(connection._exchange is not None for connection in proxied.pool._connections)


@pytest.mark.parametrize("script", [hang, begin_and_hang])
async def test_client_that_goes_away_ends_the_exchange_and_its_connection(script: Script) -> None:
    async with proxied(script) as p:
        async with dialled(p.front.port) as client:
            await client.send(get())
            await until(lambda: under_way(p))
            if script is begin_and_hang:
                await client.head()
        await until(lambda: p.behind.closed == 1)
        assert p.ends == [1]
        assert p.pool.open == 0
        assert p.front.recorder.events == []


async def test_client_that_goes_away_at_any_turn_of_connecting_ends_the_exchange() -> None:
    async with upstream(hang) as behind:
        for turns in range(12):
            ends: list[int] = []
            pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
            request = Request("http://a/")
            task = asyncio.ensure_future(forward(request, pool, on_end=partial(ends.append, 1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            request.signal.fire()
            with pytest.raises(ClientDisconnected):
                await asyncio.wait_for(task, 5)
            assert ends == [1]
            pool.close()
            await until(partial(lambda pool: pool.open == 0, pool))


async def test_client_that_goes_away_in_its_upload_ends_the_exchange() -> None:
    async with proxied(hang) as p:
        async with dialled(p.front.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            await until(lambda: under_way(p))
        await until(lambda: p.behind.closed == 1)
        assert p.ends == [1]


async def test_request_of_a_client_that_has_gone_is_not_sent() -> None:
    request = Request("http://a/")
    request.signal.fire()
    ends: list[int] = []
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        with pytest.raises(ClientDisconnected):
            await forward(request, pool, on_end=lambda: ends.append(1))
        assert (behind.connections, ends) == (0, [1])


async def test_cancelled_task_ends_the_exchange() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: behind.closed == 1)
    assert ends == [1]


async def test_task_cancelled_while_connecting_ends_the_exchange_and_leaves_no_connection() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        for turns in range(1, 9):
            task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        pool.close()
        await until(lambda: pool.open == 0)
    assert ends == [1] * 8


async def test_body_dropped_unread_ends_the_exchange_when_it_is_collected() -> None:
    ends: list[int] = []
    async with upstream(begin_and_hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        response: Response | None = await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
        assert (response is not None, ends) == (True, [])
        response = None
        await asyncio.sleep(0)  # the loop's own handle lets go of the result
        gc.collect()
        assert ends == [1]
        await until(lambda: behind.closed == 1)


async def test_answer_read_in_python_ends_the_exchange_and_frees_its_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await request_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")

    ends: list[int] = []
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        for n in range(2):
            response = await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
            assert await response.text() == "ok"
            assert ends == [1] * (n + 1)
        assert (behind.connections, pool.idle) == (1, 1)
        pool.abort()


async def test_abort_of_the_pool_fails_what_is_in_progress() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        pool.abort()
        with pytest.raises(UpstreamError):
            await task
        assert ends == [1]


async def test_close_of_the_pool_lets_what_is_in_progress_end() -> None:
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await go.wait()
        writer.write(OK)
        await reader.read()

    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        pool.close()
        go.set()
        assert (await task).status == 200
        await until(lambda: pool.open == 0)


async def test_close_of_the_pool_lets_a_connection_being_made_carry_its_request() -> None:
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool))
        for _ in range(2):
            await asyncio.sleep(0)
        pool.close()
        assert (await task).status == 200
        await until(lambda: pool.open == 0)


async def test_worker_may_answer_with_the_body_of_the_container_and_a_head_of_its_own() -> None:
    async with upstream(begin_and_end) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            inner = await forward(request, pool)
            return Response(inner.body, status=201, headers={"A": "b"})

        async with served(handler) as s, dialled(s.port) as client:
            answer = await client.ask(get())
        pool.abort()
    assert (answer.status, answer.get("a"), answer.body) == (201, "b", b"halfmore!!")


async def test_requests_of_many_clients_never_cross() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            path = head.split(b" ")[1]
            await asyncio.sleep(0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    async def run(port: int, client_id: int) -> None:
        async with dialled(port) as client:
            for n in range(30):
                assert (await client.ask(get(f"/{client_id}/{n}"))).body == f"/{client_id}/{n}".encode()

    async with proxied(script) as p:
        await asyncio.gather(*(run(p.front.port, n) for n in range(30)))
        assert p.ends == [1] * 900
        assert p.front.server.in_flight == 0
