"""The platform dies at each point of a container's start and stop.

There is no second program, none that nobody knows, and no end that nobody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import pytest

from tests.chaos.apps import docker_points
from tests.chaos.apps.launcher import PROCESS_POINTS, START_POINTS, STOP_POINTS
from tests.chaos.boxes import ask, programs, remains, started
from tests.support.platform import Platform
from tests.support.raw import Truncated, get
from tests.support.waiting import eventually
from tools.engine import Engine

RUNNING = ("running", "healthy")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each point on each place that has it; in the short run, on Docker only those where the Engine is at work."""
    is_stop = "_stop_" in metafunc.function.__name__
    everywhere: tuple[str, ...] = STOP_POINTS if is_stop else START_POINTS
    on_docker: tuple[str, ...] = docker_points.STOP_POINTS if is_stop else docker_points.START_POINTS
    if metafunc.config.getoption("--kills") < 10:
        on_docker = tuple(point for point in on_docker if point in docker_points.TELLING)
    else:
        on_docker += tuple(point for point in everywhere if point not in PROCESS_POINTS)
    cases = [*(("process", point) for point in everywhere), *(("docker", point) for point in on_docker)]
    metafunc.parametrize(("place", "point"), cases, indirect=["place"])


async def test_a_start_that_the_platform_does_not_survive_leaves_one_program_or_none(
    tmp_path: Path, place: Engine | None, point: str
) -> None:
    dying = await started(tmp_path, [f"die-{point}"], engine=place)
    try:
        with contextlib.suppress(ConnectionError, Truncated):  # whether it is ready is answered before that is stored
            await get(dying.address, "/box")
        assert await asyncio.to_thread(dying.wait_until_ended) == -signal.SIGKILL
        platform = await started(tmp_path, engine=place)
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
    assert set(programs(platform)) == {answer["who"]}
    assert not survivors or survivors == {answer["who"]}, "a program that was adopted does not serve"
    assert (await ask(platform, "/box/state"))["status"] == "healthy"
    history = await ask(platform, "/box/history")
    assert history in (["start"], ["start", "start"])  # again where it was cut off; and nothing has ended
    assert await ask(platform, "/box") == {**answer, "asked": answer["asked"] + 1}
    await alone(platform)


async def alone(platform: Platform) -> None:
    """There is one container, and nothing of another."""

    async def tidy() -> bool:
        return remains(platform) == 1

    await eventually(tidy, "nothing is left of any other container")


async def test_a_stop_that_the_platform_does_not_survive_is_carried_out_or_was_never_asked_for(
    tmp_path: Path, place: Engine | None, point: str
) -> None:
    dying = await started(tmp_path, [f"die-{point}"], engine=place)
    try:
        before = await ask(dying, "/box")
        with contextlib.suppress(ConnectionError, Truncated):  # the answer does not wait for the end
            await get(dying.address, "/box/stop")
        assert await asyncio.to_thread(dying.wait_until_ended) == -signal.SIGKILL
        platform = await started(tmp_path, engine=place)
        try:
            may_run_on = point in ("before-stop", "stop-queued", "in-on-stop")  # the hook does not wait for the disk
            await check_stopped(platform, before["who"] if may_run_on else "")
            await asyncio.to_thread(platform.stop)
        finally:
            platform.kill()
    finally:
        dying.kill()


async def check_stopped(platform: Platform, may_run_on: str) -> None:
    """The program has ended and its end was told, or it runs on as if nothing had been; then it serves."""

    async def decided() -> bool:
        state = await ask(platform, "/box/state")
        if may_run_on and state["status"] == "healthy":
            return set(programs(platform)) == {may_run_on}
        history = await ask(platform, "/box/history")
        return state["status"] == "stopped_with_code" and not programs(platform) and len(history) > 1

    try:
        await eventually(decided, "the stop is carried out, or was never asked for", within=20.0)
    except AssertionError as error:
        state, history = await ask(platform, "/box/state"), await ask(platform, "/box/history")
        error.add_note(f"{state}, {history}, programs {set(programs(platform))}\n{platform.output}")
        raise
    ends = (await ask(platform, "/box/history"))[1:]
    if not programs(platform):
        assert ends in (["exit 7 exit"], ["exit 7 exit"] * 2), "on_exit runs once, or again where it was cut off"
        assert (await ask(platform, "/box/state"))["exit_code"] == 7
    else:
        assert ends == []
    answer = await ask(platform, "/box")
    assert set(programs(platform)) == {answer["who"]}
    await alone(platform)
