"""Clients of a container that ends hear of it, whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.integration.conftest import APPS
from tests.support.frames import TEXT, Received, Socket, close, frame
from tests.support.platform import Mode, Platform
from tests.support.raw import get
from tests.support.waiting import eventually


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(APPS / "stopping_sockets.py", tmp_path / "platform") as platform:
        yield platform


async def ask(platform: Platform, target: str, binding: str = "TELLING") -> str:
    answer = await get(platform.address, target, {"X-Class": binding})
    assert answer.status == 200, answer.body
    return answer.text()


async def connect(platform: Platform, binding: str = "TELLING") -> Socket:
    return await Socket.open(platform.address, headers=(("X-Class", binding),))


async def diary(platform: Platform) -> list[str]:
    found: list[str] = (await get(platform.address, "/-/diary")).json()
    return found


async def stopped(platform: Platform) -> bool:
    return any(entry.startswith("exit") for entry in await diary(platform))


async def leave(socket: Socket) -> Received:
    """Answer the close frame that comes, and see the connection end; returns that frame."""
    told = await socket.frame()
    await socket.send(close(told.close_code))
    assert (await socket.rest())[:2] == ([told], b"")
    return told


async def test_a_hundred_clients_hear_why_their_container_stops_and_requests_meanwhile_start_the_next(
    platform: Platform,
) -> None:
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(await connect(platform)) for _ in range(100)]
        first = await ask(platform, "/pid")
        await ask(platform, "/-/stop")
        answers = asyncio.gather(*(ask(platform, "/pid") for _ in range(500)))
        told = await asyncio.gather(*(leave(socket) for socket in sockets))
        assert {(frame.close_code, frame.payload[2:]) for frame in told} == {(1001, b"Server shutting down")}
        (second,) = set(await answers)
    assert second != first
    assert await diary(platform) == ["stop with 100", "exit exit"]


async def test_a_program_that_ignores_the_signal_is_killed_and_its_clients_are_told(platform: Platform) -> None:
    with await connect(platform, "STUBBORN") as socket:
        await ask(platform, "/-/stop", "STUBBORN")
        assert (await leave(socket)).payload[2:] == b"Server shutting down"
        await eventually(lambda: stopped(platform), "the container is killed")
        assert await diary(platform) == ["stop with 1", "exit destroyed"]


async def test_without_a_hook_clients_of_a_stopped_container_get_a_1001(platform: Platform) -> None:
    with await connect(platform, "SILENT") as socket:
        await ask(platform, "/-/stop", "SILENT")
        assert (await leave(socket)).close_code == 1001


async def test_clients_of_a_destroyed_container_get_a_1001(platform: Platform) -> None:
    with await connect(platform, "SILENT") as socket:
        await ask(platform, "/-/destroy", "SILENT")
        told = await leave(socket)
        assert (told.close_code, told.payload[2:]) == (1001, b"going away")


async def test_a_client_in_the_middle_of_a_message_is_told_and_may_finish_it(platform: Platform) -> None:
    with await connect(platform) as socket:
        data = frame(TEXT, b"*" * 1000)
        await socket.send(data[:500])
        await ask(platform, "/-/stop")
        told = await socket.frame()
        assert told.close_code == 1001
        await socket.send(data[500:] + close(1001))
        assert (await socket.rest())[:2] == ([told], b"")
        await eventually(lambda: stopped(platform), "the container ends")


async def test_a_crash_ends_the_connections_without_a_close_frame(platform: Platform) -> None:
    with await connect(platform, "SILENT") as socket:
        (program,) = [
            process for process in platform.containers() if "websocket_echo.py" in " ".join(process.cmdline())
        ]
        program.kill()
        assert (await socket.rest())[:2] == ([], b"")


@pytest.mark.parametrize("mode", Mode)
async def test_clients_hear_of_the_platforms_end(mode: Mode, tmp_path: Path) -> None:
    platform = Platform(APPS / "stopping_sockets.py", tmp_path / "platform", mode=mode)
    with platform, await connect(platform) as telling, await connect(platform, "SILENT") as silent:
        stopping = asyncio.get_running_loop().run_in_executor(None, platform.stop)
        told, other = await asyncio.gather(leave(telling), leave(silent))
        await stopping
    assert (told.close_code, told.payload[2:]) == (1001, b"Server shutting down")
    assert other.close_code == 1001
