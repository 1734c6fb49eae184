"""Alarms and schedules: each once and in order while nothing happens, at least once whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path

import pytest

from tests.chaos.boxes import ask, cut_short, started
from tests.support.platform import Platform
from tests.support.raw import Address, Truncated, get
from tests.support.waiting import eventually

CLIENTS = 8
KINDS = ("SLEEPER", "CHAIN", "JOB")
MOST_KILLS = 20
QUIET = 200


class Asked:
    """The alarms that were acknowledged, and not seen to have fired yet."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, str]] = []
        self.grown = asyncio.Event()

    async def until(self, count: int) -> None:
        """Wait for so many in all."""
        while len(self.acknowledged) < count:
            self.grown.clear()
            await self.grown.wait()


async def set_alarms(client: int, generation: int, address: Address, asked: Asked, luck: random.Random) -> None:
    """One client, until the platform is gone."""
    number = 0
    with contextlib.suppress(ConnectionError, Truncated):
        while True:
            kind, name = luck.choice(KINDS), f"{generation}-{client}-{number}"
            answer = await get(address, f"/set/{kind}/{name}/{time.time() + luck.random():.3f}")
            assert answer.status == 200, answer.text()
            asked.acknowledged.append((kind, name))
            asked.grown.set()
            number += 1


async def fired(platform: Platform, asked: Asked) -> bool:
    """Whether all were; those that were are struck out."""
    while asked.acknowledged:
        kind, name = asked.acknowledged[-1]
        if not await ask(platform, f"/count/{kind}/{name}"):
            return False
        asked.acknowledged.pop()
    return True


@pytest.mark.timeout(600)
async def test_every_acknowledged_alarm_and_schedule_fires_across_kill_9(tmp_path: Path, kills: int) -> None:
    asked = Asked()
    luck = random.Random(5)
    platform = await started(tmp_path, app="alarms.py")
    try:
        for generation in range(min(kills, MOST_KILLS)):
            clients = [
                asyncio.ensure_future(set_alarms(client, generation, platform.address, asked, luck))
                for client in range(CLIENTS)
            ]
            await asked.until(len(asked.acknowledged) + luck.randint(1, 300))
            platform.crash()
            await asyncio.gather(*clients)
            await cut_short(tmp_path, luck, app="alarms.py")
            platform = await started(tmp_path, app="alarms.py")
        assert asked.acknowledged

        async def all_fired() -> bool:
            return await fired(platform, asked)

        await eventually(all_fired, "every alarm that was acknowledged fires", within=60.0)
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


async def test_alarms_fire_once_each_and_in_order_while_nothing_happens(tmp_path: Path) -> None:
    platform = await started(tmp_path, app="alarms.py")
    try:
        await get(platform.address, f"/many/{QUIET}/{time.time() + 0.5}")

        async def all_of_them() -> bool:
            return len(await ask(platform, "/order")) >= QUIET

        await eventually(all_of_them, "all alarms have fired", within=30.0)
        assert await ask(platform, "/order") == [str(number) for number in range(QUIET)]
        assert [await ask(platform, f"/count/SLEEPER/{number}") for number in range(QUIET)] == [1] * QUIET
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
