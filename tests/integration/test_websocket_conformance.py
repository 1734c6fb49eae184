"""A WebSocket through the platform, and one that ends in Python, answer byte for byte as a container does directly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.conftest import APPS
from tests.integration.websocket_cases import CASES, Case
from tests.support.frames import Received, Socket
from tests.support.platform import Platform
from tests.support.raw import Address, Ending, get

Answer = tuple[list[Received], bytes, Ending]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(APPS / "echo_sockets.py", tmp_path_factory.mktemp("websockets")) as platform:
        yield platform


async def inside(platform: Platform) -> Address:
    """Where the container listens."""
    return "127.0.0.1", int((await get(platform.address, "/inside")).text())


async def play(case: Case, address: Address, target: str = "/") -> Answer:
    """Send a case; all that was answered."""
    with await Socket.open(address, target) as socket:
        for step in case.steps:
            await socket.connection.offer(step.data, piece=step.piece)
            for _ in range(step.answers):
                await socket.frame()
        return await socket.rest()


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_forwarded_websocket_answers_as_the_container_does(case: Case, platform: Platform) -> None:
    direct, through = await asyncio.gather(play(case, await inside(platform)), play(case, platform.address))
    assert direct[1:] == (b"", Ending.CLOSED)
    assert through == direct


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_websocket_accepted_in_python_answers_as_the_container_does(case: Case, platform: Platform) -> None:
    direct, here = await asyncio.gather(play(case, await inside(platform)), play(case, platform.address, "/python"))
    assert here == direct
