"""Queues of a platform that is killed again and again: nothing is lost, and nothing comes back that is done with."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moorings.cli.admin_client import AdminClient
from tests.chaos.boxes import cut_short, started
from tests.support.platform import Platform
from tests.support.raw import Address, Connection, Truncated, request
from tests.support.waiting import eventually

APP = "queues/worker.py"
MESSAGES = 20_000
BATCH = 100
MAX_RETRIES = 3


@dataclass
class Sender:
    """Sends numbers in order, in batches. ``acknowledged`` has those that the platform has taken for sure."""

    following: int = 1
    acknowledged: list[range] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def count(self) -> int:
        """How many numbers were acknowledged."""
        return sum(map(len, self.acknowledged))

    async def until(self, count: int) -> None:
        """Wait for so many."""
        while self.count < count:
            self.moved.clear()
            await self.moved.wait()

    async def send(self, address: Address, up_to: int) -> None:
        """Send until so many were acknowledged, or the platform is gone."""
        try:
            with await Connection.open(address, timeout=60.0) as connection:
                while self.count < up_to:
                    numbers = range(self.following, self.following + BATCH)
                    self.following = numbers.stop  # whether a batch that is cut off was taken, nobody knows
                    await connection.send(request("GET", f"/send/{numbers.start}/{BATCH}"))
                    answer = await connection.receive()
                    assert answer.status == 200, answer.text()
                    self.acknowledged.append(numbers)
                    self.moved.set()
        except (ConnectionError, Truncated):
            return


@dataclass
class Record:
    """What the consumer has written down, read back."""

    deliveries: dict[int, list[int]] = field(default_factory=dict)
    first: list[int] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Raises AssertionError for a delivery after the durable acknowledgement."""
        found = cls()
        for line in path.read_text().splitlines():
            kind, number, *rest = line.split()
            message = int(number)
            if kind == "d":
                assert message not in found.acknowledged, f"message {message} came again after its durable ack"
                found.deliveries.setdefault(message, []).append(int(rest[0]))
                if rest == ["1"]:
                    found.first.append(message)
            else:
                found.ended.add(message)
                if kind == "a":
                    found.acknowledged.add(message)
        return found


async def ask(platform: Platform, path: str, **params: Any) -> Any:
    """What ``moorings queue`` would be told."""
    return await asyncio.to_thread(AdminClient(platform.data).call, path, params)


def check(record: Record, dead: list[int], sender: Sender) -> None:
    """The promises of queues."""
    sent = {number for numbers in sender.acknowledged for number in numbers}
    lost = sent - record.ended - set(dead)
    assert not lost, f"{len(lost)} messages are lost: {sorted(lost)[:10]}"
    assert len(dead) == len(set(dead)), "a message is in the dead-letter queue twice"
    assert not record.acknowledged & set(dead), "a message is dead although its acknowledgement was durable"
    for number, attempts in record.deliveries.items():
        assert attempts == sorted(set(attempts)), f"message {number} had the attempts {attempts}"
        assert attempts[-1] <= MAX_RETRIES + 1, f"message {number} had the attempts {attempts}"
    assert record.first == sorted(record.first), "messages were delivered out of order at first"
    assert len(record.first) > len(sent) / 2


@pytest.mark.timeout(600)
async def test_every_message_is_acknowledged_or_dead_across_kill_9(tmp_path: Path, kills: int) -> None:
    luck = random.Random(13)
    sender = Sender()
    platform = await started(tmp_path, app=APP)
    try:
        for kill in range(1, kills + 1):
            portion = MESSAGES * kill // (kills + 1)
            sending = asyncio.ensure_future(sender.send(platform.address, portion))
            await sender.until(sender.count + luck.randint(1, max(1, portion - sender.count)))
            await asyncio.sleep(luck.uniform(0.0, 0.5))  # the moment of the kill
            platform.crash()
            await sending
            await cut_short(tmp_path, luck, app=APP)
            platform = await started(tmp_path, app=APP)
        await sender.send(platform.address, MESSAGES)
        assert sender.count >= MESSAGES

        async def drained() -> bool:
            listed = await ask(platform, "/queues/list")
            return [queue["messages"] for queue in listed if queue["name"] == "jobs"] == [0]

        await eventually(drained, "every message is acknowledged or dead", within=120.0)
        letters = await ask(platform, "/queues/peek", queue="dead", limit=1000)
        assert len(letters) < 1000
        assert {letter["source"] for letter in letters} == {"jobs"}
        check(Record.read(tmp_path / "record"), [letter["body"] for letter in letters], sender)
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
