"""What an object costs while it sleeps: the platform's memory after 10,000 more have been used and put away."""

import time

from bench.harness.case import Bench, Case, Takes
from bench.harness.contestants import PLATFORM
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection

OBJECTS = 10_000
QUIET_SECONDS = 25.0
"""Objects leave memory when they have been idle for 10 s, at the next look, which is every 10 s."""


def run(bench: Bench) -> Result:
    with bench.contestants([PLATFORM], app="durable") as [contestant], Connection(contestant.url) as connection:
        rss = []
        for first in (0, OBJECTS):
            bench.progress(f"{OBJECTS:,} objects, and {QUIET_SECONDS:.0f} s until they sleep")
            connection.good(f"/touch?from={first}&to={first + OBJECTS}")
            time.sleep(QUIET_SECONDS)
            rss.append(contestant.usage().rss)
    each = (rss[1] - rss[0]) / OBJECTS / 1024
    row = Row(f"{OBJECTS:,} more sleeping objects", {"each": Figure.of([each], "KiB")})
    verdict = Verdict("memory per sleeping instance", each, "KiB", Direction.AT_MOST, bound=1.0, aim=0.5)
    return Result((row,), (verdict,), ("the first 10,000 are the warm-up of allocator and database cache",))


CASE = Case(title="memory per sleeping instance", run=run, takes=Takes.LONG)
