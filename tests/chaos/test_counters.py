"""32 clients count, through RPC, HTTP and SQL, while the platform is killed with -9: what was acknowledged is there.

Private counters have one client, shared ones have all. A client that is cut off does not know whether its last write
was stored, so a counter lies between its acknowledgements and its attempts.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.boxes import cut_short, started
from tests.support.raw import Address, Answer, Connection, Truncated, get, request

APP = "counters.py"
CLIENTS = 32
SHARED = 4
WAYS = ("rpc", "http", "sql")


class Tally:
    """What the clients know of the counters: by way of counting and name."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.acknowledged: dict[tuple[str, str], set[int]] = {}
        self.total = 0
        self.moved = asyncio.Event()

    def acknowledge(self, way: str, name: str, count: int) -> None:
        """A client was told a count. No two are ever told the same one."""
        known = self.acknowledged.setdefault((way, name), set())
        assert count not in known, f"{way} {name} was counted to {count} twice"
        known.add(count)
        self.total += 1
        self.moved.set()

    async def until(self, total: int) -> None:
        """Wait for so many acknowledgements in all."""
        while self.total < total:
            self.moved.clear()
            await self.moved.wait()


async def count(number: int, address: Address, tally: Tally, luck: random.Random) -> None:
    """One client, until the platform is gone."""
    try:
        with await Connection.open(address, timeout=60.0) as connection:
            while True:
                way = luck.choice(WAYS)
                name = f"shared-{luck.randrange(SHARED)}" if luck.random() < 0.5 else f"private-{number}"
                # RPC and HTTP count in the same keys.
                key = "sql" if way == "sql" else "keys"
                tally.attempts[key, name] += 1
                await connection.send(request("GET", f"/{way}/{name}"))
                answer = await connection.receive()
                tally.acknowledge(key, name, counted(answer))
    except (ConnectionError, Truncated):
        return


def counted(answer: Answer) -> int:
    """The new count that an answer tells."""
    assert answer.status == 200, answer.text()
    value = answer.json()
    assert isinstance(value, int)
    return value


async def check(address: Address, tally: Tally) -> None:
    """Every counter against what its clients know."""
    names = {name for _, name in tally.attempts}
    for name in sorted(names):
        stored = (await get(address, f"/look/{name}")).json()
        assert stored["count"] == stored["twin"], f"{name}: a write was torn: {stored['count']}, {stored['twin']}"
        assert stored["log"] == list(range(1, stored["count"] + 1)), f"{name}: keys of one turn are missing"
        assert stored["rows"] == [[n, n] for n in range(1, len(stored["rows"]) + 1)]
        for key, value in (("keys", stored["count"]), ("sql", len(stored["rows"]))):
            known = tally.acknowledged.get((key, name), set())
            assert max(known, default=0) <= value, f"{key} {name}: {max(known)} was acknowledged, {value} are stored"
            assert len(known) <= value <= tally.attempts[key, name]


@pytest.mark.timeout(600)
async def test_counters_keep_every_acknowledged_write_across_kill_9(tmp_path: Path, kills: int) -> None:
    tally = Tally()
    luck = random.Random(11)
    platform = await started(tmp_path / "platform", app=APP)
    try:
        for _ in range(kills):
            clients = [asyncio.ensure_future(count(number, platform.address, tally, luck)) for number in range(CLIENTS)]
            await first(clients, tally.until(tally.total + luck.randint(1, 1000)))
            platform.crash()
            await asyncio.gather(*clients)
            await cut_short(platform.folder, luck, app=APP)
            platform = await started(platform.folder, app=APP)
            await check(platform.address, tally)
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
    assert tally.total > kills


async def first(clients: Sequence[asyncio.Future[None]], enough: Coroutine[Any, Any, None]) -> None:
    """Wait until there is enough; a client that fails before ends the test."""
    waiting = asyncio.ensure_future(enough)
    try:
        await asyncio.wait({waiting, *clients}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    for client in clients:
        if client.done():
            client.result()
            raise AssertionError("a client was cut off by a platform that nobody has killed")
