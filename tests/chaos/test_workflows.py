"""Workflows across kill -9: every instance completes, and no step that was recorded runs again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.apps import workflows as plan
from tests.chaos.boxes import ask, cut_short, started
from tests.support.platform import Platform
from tests.support.raw import Address, Truncated, get
from tests.support.waiting import eventually

INSTANCES = 300
BATCH = 50
MOST_KILLS = 20


class Client:
    """Creates the instances and sends the events, each until it was acknowledged."""

    def __init__(self, luck: random.Random) -> None:
        self.batches = list(range(0, INSTANCES, BATCH))
        self.events = [(number, branch) for number in range(INSTANCES) for branch in range(plan.BRANCHES)]
        luck.shuffle(self.events)

    async def work(self, address: Address) -> None:
        """Until all is done, or the platform is gone."""
        with contextlib.suppress(ConnectionError, Truncated, EOFError):
            while self.batches:
                assert (await get(address, f"/create/{self.batches[-1]}/{BATCH}")).status == 200
                self.batches.pop()
            while self.events:
                number, branch = self.events[-1]
                assert (await get(address, f"/send/i{number}/{branch}")).status == 200
                self.events.pop()


class Diary:
    """What the steps wrote down, outside of the platform."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[tuple[str, str, str]]:
        if not self.path.exists():
            return []
        return [tuple(line.split()) for line in self.path.read_text().splitlines()]  # type: ignore[misc]

    async def grows_by(self, count: int) -> None:
        size = len(self.lines()) + count

        async def has() -> bool:
            return len(self.lines()) >= size

        await eventually(has, f"{count} more lines in the diary", within=30.0)


def check_diary(lines: list[tuple[str, str, str]]) -> None:
    """No step runs after its completion was seen, and nothing of the platform is used while a run only parks."""
    seen: set[tuple[str, str]] = set()
    ended: Counter[str] = Counter()
    for what, instance, step in lines:
        if what == "ran":
            assert (instance, step) not in seen, f"{step} of {instance} ran again after it was recorded"
        elif what == "after":
            if (instance, step) not in seen:
                ended[instance] += 1
            seen.add((instance, step))
        else:
            assert ended[instance] == plan.STEPS, f"a finally block of {instance} reached the platform while parking"
    assert ended == {f"i{number}": plan.STEPS for number in range(INSTANCES)}


def check_status(instance: str, status: dict[str, Any]) -> None:
    assert (status["status"], status["output"]) == ("complete", plan.OUTPUT), status
    assert len(status["steps"]) == plan.STEPS
    for step in status["steps"]:
        kind, branch = step["name"].split("-")
        assert step["state"] == "complete"
        if kind == "nap":
            waited = datetime.fromisoformat(step["due"]) - datetime.fromisoformat(step["started"])
            assert waited.total_seconds() == pytest.approx(plan.nap(instance, int(branch)), abs=0.01)
        elif kind != "event":
            assert step["attempts"] == (plan.FAILURES + 1 if kind == "retried" else 1)


@pytest.mark.timeout(600)
async def test_instances_complete_and_recorded_steps_run_once_across_kill_9(tmp_path: Path, kills: int) -> None:
    luck = random.Random(7)
    diary, client = Diary(tmp_path / "diary"), Client(luck)
    env = {"MOORINGS_DIARY": str(diary.path)}
    platform = await started(tmp_path, app="workflows.py", env=env)
    try:
        kills = min(kills, MOST_KILLS)
        for _ in range(kills):
            working = asyncio.ensure_future(client.work(platform.address))
            await diary.grows_by(luck.randint(50, 6_000 // kills))
            platform.crash()
            await working
            await cut_short(tmp_path, luck, app="workflows.py", env=env)
            platform = await started(tmp_path, app="workflows.py", env=env)
        await client.work(platform.address)
        assert not client.events
        for number in range(INSTANCES):
            await eventually(functools.partial(over, platform, f"i{number}"), f"i{number} ends", within=60.0)
        for number in range(INSTANCES):
            check_status(f"i{number}", await ask(platform, f"/status/i{number}"))
        check_diary(diary.lines())
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


async def over(platform: Platform, instance: str) -> bool:
    status: dict[str, Any] = await ask(platform, f"/status/{instance}")
    return status["status"] in ("complete", "errored", "terminated")
