"""What the example of a graceful shutdown promises, over sockets."""

from __future__ import annotations

import time

from examples.conftest import Variant
from tests.support.frames import CLOSE, PING, PONG, TEXT, Socket, close, frame
from tests.support.platform import Platform
from tests.support.raw import get


async def shutdown_time(platform: Platform) -> float | None:
    found: float | None = (await get(platform.address, "/state")).json()["shutdown_time"]
    return found


async def test_clients_are_told_before_the_container_stops_and_the_time_is_kept(platform: Platform) -> None:
    before = time.time()
    with await Socket.open(platform.address) as one, await Socket.open(platform.address) as two:
        await get(platform.address, "/stop")
        for socket in (one, two):
            told = await socket.frame()
            assert (told.close_code, told.payload[2:]) == (1001, b"Server shutting down")
            await socket.send(close(1001))
            assert (await socket.rest())[:2] == ([told], b"")
    platform.wait_for_output("stopped")
    assert before <= (await shutdown_time(platform) or 0) <= time.time()


async def test_it_stays_awake_while_somebody_is_connected_and_sleeps_after(variant: Variant) -> None:
    variant.replace('sleep_after = "30s"', 'sleep_after = "0.2s"')
    variant.replace(
        "return len(self.connections) > 0",
        "print('expired with', len(self.connections), flush=True); return len(self.connections) > 0",
    )
    with variant.serve() as platform:
        with await Socket.open(platform.address) as socket:
            platform.wait_for_output("expired with 1")
            await socket.send(frame(PING, b"here"))
            assert (await socket.frame()).payload == b"here"
            assert "stopping" not in platform.output
            await socket.send(close())
            await socket.rest()
        platform.wait_for_output("expired with 0")
        platform.wait_for_output("stopped")
        assert await shutdown_time(platform) is not None


async def test_without_the_hook_a_socket_with_nothing_but_pings_is_told_and_closed(variant: Variant) -> None:
    variant.replace('sleep_after = "30s"', 'sleep_after = "1s"')
    variant.replace("def on_activity_expired(self):", "def anything_else(self):")
    with variant.serve() as platform, await Socket.open(platform.address) as socket:
        await socket.send(frame(TEXT, b"hello"))
        assert (await socket.frame()).payload == b"hello"
        await socket.send(frame(PING, b"still here"))
        while (answer := await socket.frame()).opcode == PONG:
            await socket.send(frame(PING, b"still here"))
        assert (answer.opcode, answer.close_code) == (CLOSE, 1001)
