"""100,000 sleeping workflow instances: rows, of which neither start-up nor memory feels much; then all are woken."""

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path

from bench.harness.case import Bench, Case
from bench.harness.contestants import start_platform
from bench.harness.figures import Direction, Figure, Result, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError
from bench.harness.starts import beside_empty
from moorings.clock import SystemClock
from moorings.server.platform import MIGRATIONS
from moorings.store import DataFolder, SqliteStore

APP = "workflows"
SLEEPING = 100_000
RATE = 2_000
A_DAY = 86_400.0
LEAD = 10.0
"""Seconds from the moment when the times are stored until the first is due: the platform starts in between."""

PATIENCE = 120.0
ROUNDS = 3
A_TURN = 2_000

INSTANCE = (
    "INSERT INTO workflows_instances (id_key, workflow, id, status, wake, fence, params, created) "
    "VALUES (?, 'Sleeper', ?, 'waiting', ?, 1, ?, ?)"
)
STEP = (
    "INSERT INTO workflows_steps (instance, name, number, kind, state, attempts, cut_off, due, began) "
    "VALUES (?, 'nap', 0, 'sleep', 'waiting', 0, 0, ?, ?)"
)
MOVED = (
    "UPDATE workflows_instances SET wake = ?, params = ? WHERE id_key = ?",
    "UPDATE workflows_steps SET due = ? WHERE instance = ?",
)


async def store(folder: Path, *, first_due: float, move: bool = False) -> None:
    """Store the sleepers, or ``move`` their times: one is due at ``first_due`` and the others after it at RATE."""
    with DataFolder.open(folder, started_at=time.time()) as place:
        database = await SqliteStore.open(place.path, migrations=MIGRATIONS, clock=SystemClock())
        group = database.group("sleepers")
        now = time.time()
        for number in range(SLEEPING):
            key, due = number + 1, first_due + number / RATE
            params = json.dumps({"number": number, "due": due})
            if move:
                group.write(MOVED[0], (due, params, key))
                commit = group.write(MOVED[1], (due, key))
            else:
                group.write(INSTANCE, (key, f"sleeper-{number}", due, params, now))
                commit = group.write(STEP, (key, due, now))
            if number % A_TURN == A_TURN - 1:
                await commit
        await database.close()


def wakings(bench: Bench, data: Path) -> tuple[list[tuple[int, float]], float]:
    """Each sleeper's number and how late it was woken (s), in the order in which they woke; CPU seconds in all."""
    platform = start_platform(bench.site, APP, data_dir=data)
    seen: list[tuple[int, float]] = []
    try:
        deadline = time.monotonic() + LEAD + SLEEPING / RATE + PATIENCE
        with Connection(platform.url) as connection:
            while len(seen) < SLEEPING:
                if time.monotonic() > deadline:
                    raise BenchError(f"only {len(seen):,} of {SLEEPING:,} sleepers have woken\n"
                                     + platform.process.last_words())  # fmt: skip
                time.sleep(0.5)
                seen += json.loads(connection.good(f"/woken?from={len(seen)}").body)
                bench.progress(f"{len(seen):,} of {SLEEPING:,} have woken")
        return seen, platform.usage().cpu
    finally:
        platform.stop()


def out_of_order(numbers: Iterable[int]) -> int:
    """How many come after one that should have come later."""
    latest, count = -1, 0
    for number in numbers:
        count += number < latest
        latest = max(latest, number)
    return count


def run(bench: Bench) -> Result:
    full = bench.site.folder / "full"
    bench.progress(f"{SLEEPING:,} sleepers are stored")
    asyncio.run(store(full, first_due=time.time() + A_DAY))
    names = "no instances", f"{SLEEPING:,} asleep"
    rows, verdicts = beside_empty(bench, APP, full, rounds=ROUNDS, names=names, longest=2.0, most=50.0)
    moving = time.time()
    bench.progress("their times are moved")
    asyncio.run(store(full, first_due=moving + A_DAY, move=True))
    moved_in = time.time() - moving
    asyncio.run(store(full, first_due=time.time() + LEAD + moved_in, move=True))
    seen, cpu = wakings(bench, full)
    latest = max(seen, key=lambda waking: waking[1])[0]
    late = Figure.of([seconds for _, seconds in seen], "s")
    return Result(
        rows,
        (
            *verdicts,
            Verdict(f"the latest of all wakings, at {RATE:,}/s", max(late.samples), "s", Direction.AT_MOST, 1.0),
            Verdict("woken too early", sum(s < 0 for s in late.samples), "", Direction.AT_MOST, 0),
            Verdict("woken twice", SLEEPING - len({n for n, _ in seen}), "", Direction.AT_MOST, 0),
            Verdict("woken out of order", out_of_order(n for n, _ in seen), "", Direction.AT_MOST, 0),
        ),
        (
            f"median of how late they woke: {late.median * 1000:.1f} ms; the latest was number {latest:,}",
            f"CPU time of the platform for a waking: {cpu / SLEEPING * 1e6:.0f} µs, which on one core allows at most "
            f"{SLEEPING / cpu:,.0f}/s; on a busy machine they are late for want of it",
        ),
    )


CASE = Case(title=f"{SLEEPING:,} sleeping workflow instances", run=run)
