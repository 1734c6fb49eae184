"""The platform dies while a warm spare is made or taken.

Whatever runs then is a spare or one object's, there are as many as there should be, and each serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.chaos.apps.launcher import CLAIM_POINTS
from tests.chaos.boxes import APPS, ask, programs, started
from tests.support.platform import Platform
from tests.support.raw import Truncated, get
from tests.support.waiting import eventually

SPARES = {"SPARES": "2"}


async def settled(platform: Platform, count: int) -> None:
    async def there() -> bool:
        return len(programs(platform)) == count

    await eventually(there, f"{count} programs run", within=20.0)


async def check(platform: Platform) -> None:
    """Names have programs of their own, and two more run for whoever comes next."""
    box = await ask(platform, "/box")
    await settled(platform, 3)
    assert (await ask(platform, "/box"))["who"] == box["who"]
    assert await ask(platform, "/box/history") in (["start"], ["start", "start"])  # again where it was cut off
    spares = set(programs(platform)) - {box["who"]}
    other = await ask(platform, "/other")
    assert other["who"] in spares
    assert (await ask(platform, "/box"))["who"] == box["who"]
    await settled(platform, 4)


@pytest.mark.parametrize("point", CLAIM_POINTS)
async def test_a_claim_that_the_platform_does_not_survive_leaves_a_spare_or_an_objects_container(
    tmp_path: Path, point: str
) -> None:
    dying = await started(tmp_path, [f"die-{point}"], env=SPARES)
    try:
        await settled(dying, 2)
        before = set(programs(dying))
        with contextlib.suppress(ConnectionError, Truncated):
            await get(dying.address, "/box")
        assert await asyncio.to_thread(dying.wait_until_ended) == -signal.SIGKILL
        platform = await started(tmp_path, env=SPARES)
        try:
            claimed = await ask(platform, "/box/state")
            assert before <= set(programs(platform)), "a program was lost"
            if point != CLAIM_POINTS[0]:
                assert claimed["status"] in ("running", "healthy")
            await check(platform)
            await asyncio.to_thread(platform.stop)
        finally:
            platform.kill()
    finally:
        dying.kill()


@pytest.mark.parametrize("point", ["sent", "answered"])
async def test_a_spare_that_was_being_made_is_kept_or_removed(tmp_path: Path, point: str) -> None:
    launcher = [sys.executable, str(APPS / "launcher.py"), f"die-{point}", "--"]
    options = ["--port", "0", "--runtime", "process", "--data-dir", str(tmp_path / "data")]
    dying = await asyncio.create_subprocess_exec(
        *[*launcher, "serve", str(APPS / "boxes.py"), *options],
        env={**os.environ, **SPARES},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await dying.wait() == -signal.SIGKILL
    platform = await started(tmp_path, env=SPARES)
    try:
        await settled(platform, 2)
        await check(platform)
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
