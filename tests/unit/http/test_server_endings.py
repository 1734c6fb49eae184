"""Clients that leave, stall or stay too long; servers that drain and close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest

from moorings.clock import ManualClock
from moorings.http import Limits, Request, Response
from moorings.observer import ErrorReported
from tests.unit.http.wire import Served, dialled, get, served, until


async def echo(request: Request) -> Response:
    return Response(await request.bytes())


async def path(request: Request) -> Response:
    return Response(request.target)


async def test_client_that_goes_away_sets_the_signal_and_cancels_nothing() -> None:
    released = asyncio.Event()
    finished = asyncio.Event()

    async def wait(request: Request) -> Response:
        await request.signal.wait()
        await released.wait()
        finished.set()
        return Response("late")

    async with served(wait) as s:
        async with dialled(s.port) as client:
            await client.send(get())
            await until(lambda: bool(s.requests))
            assert s.server.in_flight == 1
        await until(lambda: s.requests[0].signal.aborted)
        assert s.server.in_flight == 1
        released.set()
        await finished.wait()
        await until(lambda: s.server.in_flight == 0)


async def test_the_kernel_asks_silent_clients_whether_they_are_still_there() -> None:
    async with served(path) as s, dialled(s.port) as client:
        assert (await client.ask(get())).status == 200
        (connection,) = s.connections
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


async def test_body_that_waits_for_something_ends_when_its_client_goes_away() -> None:
    ended = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"first"
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def stream(request: Request) -> Response:
        return Response(events())

    async with served(stream) as s:
        async with dialled(s.port) as client:
            await client.send(get())
            assert (await client.head())[0] == 200
        await asyncio.wait_for(ended.wait(), 5)
        await until(lambda: s.server.in_flight == 0)
        assert s.recorder.events == []


async def test_error_after_the_client_has_gone_is_reported() -> None:
    async def wait(request: Request) -> Response:
        await request.signal.wait()
        raise RuntimeError("late")

    async with served(wait) as s:
        async with dialled(s.port) as client:
            await client.send(get())
            await until(lambda: bool(s.requests))
        await until(lambda: bool(s.recorder.events))
        event = s.recorder.events[0]
        assert isinstance(event, ErrorReported)
        assert str(event.error) == "late"


async def test_client_that_leaves_in_its_upload_fails_the_reader() -> None:
    failed: list[BaseException] = []

    async def read(request: Request) -> Response:
        try:
            return Response(await request.bytes())
        except Exception as error:
            failed.append(error)
            raise

    async with served(read) as s:
        async with dialled(s.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
            await until(lambda: bool(s.requests))
        await until(lambda: bool(failed))
        assert type(failed[0]).__name__ == "ClientDisconnected"
        assert s.recorder.events == []


async def test_idle_connection_is_closed_in_time() -> None:
    clock = ManualClock()
    async with served(path, clock=clock, limits=Limits(idle_timeout=75)) as s, dialled(s.port) as client:
        assert (await client.ask(get())).status == 200
        await clock.advance(74)
        assert (await client.ask(get())).status == 200
        await clock.advance(74)
        assert len(s.server.connections) == 1
        await clock.advance(2)
        assert await client.rest() == b""


async def test_connection_without_a_request_is_closed_in_time() -> None:
    clock = ManualClock()
    async with served(path, clock=clock) as s, dialled(s.port) as client:
        await until(lambda: len(s.server.connections) == 1)
        await clock.advance(11)
        assert await client.rest() == b""


def received(s: Served) -> int:
    """Bytes of unfinished heads."""
    return sum(len(connection._partial or b"") for connection in s.connections)


async def test_unfinished_head_is_answered_with_408_in_time_however_steadily_it_drips() -> None:
    clock = ManualClock()
    async with served(path, clock=clock) as s, dialled(s.port) as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: received(s) == 16)
        for n in range(4):
            await clock.advance(2)
            await client.send(b"A: b\r\n")
            await until(partial(lambda size: received(s) == size, 22 + 6 * n))
        await clock.advance(3)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_upload_that_stalls_fails_in_time() -> None:
    clock = ManualClock()
    async with served(echo, clock=clock) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        await until(lambda: bool(s.requests))
        await clock.advance(61)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_client_that_takes_nothing_of_its_answer_is_cut_off_in_time() -> None:
    clock = ManualClock()

    async def big(request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    async with served(big, clock=clock) as s, dialled(s.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport as well
        await client.send(get())
        await until(lambda: any(c._writer.paused for c in s.connections))
        size = -1
        connection = next(iter(s.connections))
        while connection.transport is not None and size != connection.transport.get_write_buffer_size():
            size = connection.transport.get_write_buffer_size()
            await asyncio.sleep(0.05)
        await clock.advance(121)
        await until(lambda: not s.server.connections)


async def test_timers_are_armed_once_per_timeout_not_per_request() -> None:
    clock = ManualClock()
    async with served(path, clock=clock) as s, dialled(s.port) as client:
        for _ in range(50):
            await client.ask(get())
        assert clock._count <= 2


async def test_drain_lets_requests_finish_and_closes_idle_connections() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        if request.target == b"/wait":
            await release.wait()
        return Response("ok")

    async with served(wait) as s, dialled(s.port) as idle, dialled(s.port) as busy:
        await idle.ask(get())
        await busy.send(get("/wait"))
        await until(lambda: len(s.requests) == 2)
        drain = asyncio.ensure_future(s.server.drain(30))
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", s.port)
        release.set()
        answer = await busy.answer()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert await busy.rest() == b""
        await drain


async def test_drain_gives_up_after_its_timeout_and_close_ends_the_rest() -> None:
    clock = ManualClock()
    cancelled = asyncio.Event()

    async def forever(request: Request) -> Response:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Response()

    async with served(forever, clock=clock) as s, dialled(s.port) as client:
        await client.send(get())
        await until(lambda: bool(s.requests))
        drain = asyncio.ensure_future(s.server.drain(5))
        await clock.advance(4)
        assert not drain.done()
        await clock.advance(2)
        await drain
        await s.server.close()
        assert cancelled.is_set()
        assert s.server.in_flight == 0
        with pytest.raises(ConnectionError):
            await client.rest()


async def test_connections_over_the_limit_are_turned_away() -> None:
    async with served(path, limits=Limits(connections=1)) as s, dialled(s.port) as first:
        await first.ask(get())
        async with dialled(s.port) as second:
            assert (await second.rest()).startswith(b"HTTP/1.1 503 ")
        assert (await first.ask(get())).status == 200
