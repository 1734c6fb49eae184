"""The platform dies at each point of a container's start: no second program, and none that nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.chaos.apps.launcher import POINTS
from tests.chaos.boxes import ask, programs, started
from tests.support.platform import Platform
from tests.support.raw import Truncated, get
from tests.support.waiting import eventually

RUNNING = ("running", "healthy")


@pytest.mark.parametrize("point", POINTS)
async def test_a_start_that_the_platform_does_not_survive_leaves_one_program_or_none(
    tmp_path: Path, point: str
) -> None:
    dying = await started(tmp_path, [f"die-{point}"])
    try:
        with contextlib.suppress(ConnectionError, Truncated):  # whether it is ready is answered before that is stored
            await get(dying.address, "/box")
        assert await asyncio.to_thread(dying.wait_until_ended) == -signal.SIGKILL
        platform = await started(tmp_path)
        try:
            await check(platform)
            await asyncio.to_thread(platform.stop)
        finally:
            platform.kill()
    finally:
        dying.kill()


async def check(platform: Platform) -> None:
    """What runs is what the platform says; and it serves."""

    async def agreed() -> bool:
        state = (await ask(platform, "/box/state"))["status"]
        return len(programs(platform)) == (1 if state in RUNNING else 0)

    await eventually(agreed, "as many programs as the platform says")
    survivors = set(programs(platform))
    answer = await ask(platform, "/box")
    assert set(programs(platform)) == {answer["pid"]}
    assert not survivors or survivors == {answer["pid"]}, "a program that was adopted does not serve"
    assert (await ask(platform, "/box/state"))["status"] == "healthy"
    history = await ask(platform, "/box/history")
    assert history[-1] == "start"
    assert await ask(platform, "/box") == {**answer, "asked": answer["asked"] + 1}
