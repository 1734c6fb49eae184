"""From the platform's spawn to its first answer, with an empty data folder and with 10,000 known instances."""

import time

from bench.harness.case import Bench, Case
from bench.harness.contestants import start_platform
from bench.harness.figures import Figure, Result, Row
from bench.harness.plain_http import Connection

KNOWN = 10_000


def run(bench: Bench) -> Result:
    rows = []
    for known in (0, KNOWN):
        data = bench.site.folder / f"known-{known}"
        if known:
            contestant = start_platform(bench.site, "durable", data_dir=data)
            with Connection(contestant.url) as connection:
                bench.progress(f"making {known:,} instances known")
                connection.good(f"/touch?from=0&to={known}")
            contestant.stop()
        samples = []
        for number in range(bench.effort.rounds):
            bench.progress(f"start {number + 1} of {bench.effort.rounds} with {known:,} known instances")
            began = time.perf_counter()
            contestant = start_platform(bench.site, "durable", data_dir=data)
            with Connection(contestant.url) as connection:
                connection.good("/touch?from=0&to=1")
            samples.append((time.perf_counter() - began) * 1000)
            contestant.stop()
        rows.append(Row(f"{known:,} known instances", {"to the first answer": Figure.of(samples, "ms")}))
    return Result(tuple(rows))


CASE = Case(title="start of the platform", run=run)
