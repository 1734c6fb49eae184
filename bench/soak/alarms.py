"""100,000 pending alarms: a row each, and neither start-up nor memory feels them."""

import asyncio
import secrets
import time
from pathlib import Path

from bench.harness.case import Bench, Case
from bench.harness.contestants import start_platform
from bench.harness.figures import Direction, Result, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError
from bench.harness.starts import beside_empty
from moorings.clock import SystemClock
from moorings.objects import timers
from moorings.objects.timers import TimerOwner
from moorings.server.platform import MIGRATIONS
from moorings.store import DataFolder, SqliteStore

APP = "alarms"
PENDING = 100_000
DUE_SOON = 200
SOON = 5.0
A_DAY = 86_400.0
ROUNDS = 5
A_TURN = 5_000


async def fill(folder: Path) -> None:
    """Store the alarms as objects would: some are due soon, most within the day after tomorrow."""
    with DataFolder.open(folder, started_at=time.time()) as place:
        store = await SqliteStore.open(place.path, migrations=MIGRATIONS, clock=SystemClock())
        now = time.time()
        group = store.group("alarms")
        for number in range(PENDING):
            due = now + SOON if number < DUE_SOON else now + A_DAY + number
            group.write(*timers.set_alarm(TimerOwner(secrets.token_bytes(32), "Sleeper", None), due))
            if number % A_TURN == 0:
                await asyncio.sleep(0)
        await store.close()


def fired(bench: Bench, data: Path) -> int:
    """How many of the alarms that are due soon fire, among all the others."""
    platform = start_platform(bench.site, APP, data_dir=data)
    try:
        deadline = time.monotonic() + SOON + 20.0
        with Connection(platform.url) as connection:
            while (count := int(connection.good().body)) < DUE_SOON:
                if time.monotonic() > deadline:
                    raise BenchError(f"only {count} of {DUE_SOON} alarms have fired")
                time.sleep(0.05)
        return count
    finally:
        platform.stop()


def run(bench: Bench) -> Result:
    full = bench.site.folder / "full"
    bench.progress(f"{PENDING:,} alarms are stored")
    asyncio.run(fill(full))
    count = fired(bench, full)
    names = "no alarms", f"{PENDING - count:,} alarms"
    rows, verdicts = beside_empty(bench, APP, full, rounds=ROUNDS, names=names, longest=1.0, most=50.0)
    return Result(rows, (*verdicts, Verdict("alarms fired that were due", count, "", Direction.AT_LEAST, DUE_SOON)))


CASE = Case(title=f"{PENDING:,} pending alarms", run=run)
