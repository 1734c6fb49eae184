"""Clients that leave while nothing is read from them, because the reader of their upload is behind."""

from __future__ import annotations

import asyncio
import platform
import socket
import struct
from collections.abc import Callable

import pytest

from moorings.clock import ManualClock
from moorings.http import Request, Response
from moorings.http.body import HIGH_WATER
from moorings.http.peer import LOOK_EVERY
from tests.unit.http.wire import PATIENCE, Client, Served, dialled, get, served, until

SIZE = 4 * HIGH_WATER
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE

linux_only = pytest.mark.skipif(platform.system() != "Linux", reason="the kernel is asked for the connection's state")


def reset(client: Client) -> None:
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


def close(client: Client) -> None:
    client.writer.close()


async def paused(s: Served) -> None:
    await until(lambda: any(connection._pause for connection in s.server.connections))


@linux_only
@pytest.mark.parametrize("leave", [reset, close])
async def test_client_that_leaves_while_its_upload_is_held_back_is_noticed(leave: Callable[[Client], None]) -> None:
    async def hold(request: Request) -> Response:
        await request.signal.wait()
        return Response("late")

    clock = ManualClock()
    async with served(hold, clock=clock) as s, dialled(s.port) as client:
        await client.send(UPLOAD + bytes(HIGH_WATER * 3 // 2))  # the kernel takes it all, so the end comes through
        await paused(s)
        leave(client)
        async with asyncio.timeout(PATIENCE):
            while s.server.connections:
                await clock.advance(LOOK_EVERY)
                await asyncio.sleep(0.001)
        await until(lambda: s.server.in_flight == 0)
        assert s.requests[0].signal.aborted
        assert clock.pending == 0


async def test_client_that_stays_may_have_its_upload_held_back_for_long() -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> Response:
        await go.wait()
        return Response(str(len(await request.bytes())))

    clock = ManualClock()
    async with served(wait, clock=clock) as s, dialled(s.port) as client:
        await client.send(UPLOAD + bytes(SIZE))
        await paused(s)
        await clock.advance(100 * LOOK_EVERY)
        go.set()
        assert (await client.answer()).body == str(SIZE).encode()
        assert (await client.ask(get(method="POST", extra="Content-Length: 0\r\n"))).body == b"0"


async def test_nothing_is_looked_at_once_reading_goes_on() -> None:
    async def read(request: Request) -> Response:
        return Response(str(len(await request.bytes())))

    clock = ManualClock()
    async with served(read, clock=clock) as s, dialled(s.port) as client:
        assert (await client.ask(UPLOAD + bytes(SIZE))).body == str(SIZE).encode()
        await clock.advance(2 * LOOK_EVERY)
        assert clock.pending == 1, "there is more than the deadline of the idle connection"
