"""Durable writes: a get and a put in an object by RPC, each answered after its fsync."""

import json

from bench.harness.case import Bench, Case
from bench.harness.contestants import PLATFORM
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection

WRITES = 20_000
BOUND = 10_000.0


def run(bench: Bench) -> Result:
    rows = []
    rates: dict[int, Figure] = {}
    with bench.contestants([PLATFORM], app="durable") as [contestant], Connection(contestant.url) as connection:
        for objects in (1, 1000):
            each = max(5, WRITES // 10 if objects == 1 else WRITES // objects)
            answers = []
            for number in range(bench.effort.rounds):
                bench.progress(f"{objects} objects, round {number + 1} of {bench.effort.rounds}")
                answers.append(json.loads(connection.good(f"/puts?objects={objects}&each={each}").body))
            rates[objects] = Figure.of([answer["rate"] for answer in answers], "/s")
            figures = {
                "puts/s": rates[objects],
                "p50": Figure.of([answer["p50"] * 1000 for answer in answers], "ms"),
                "p99": Figure.of([answer["p99"] * 1000 for answer in answers], "ms"),
            }
            rows.append(Row(f"{objects:,} object{'s' if objects > 1 else ''}", figures))
    return Result(
        tuple(rows), (Verdict("puts with 1,000 objects", rates[1000].median, "/s", Direction.AT_LEAST, bound=BOUND),)
    )


CASE = Case(title="durable puts by RPC, SQLite with fsync", run=run)
