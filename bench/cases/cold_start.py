"""The first request to a new name: what the platform adds to the time that the program itself takes.

Both are measured alike and in turn: from just before the spawn, or the request that causes it, to the end of the first
answer. Each side has one core for the program and whoever starts it: the driver here, the platform there.
"""

from __future__ import annotations

import subprocess
import time
from statistics import median, quantiles

from bench.harness.case import Bench, Case
from bench.harness.contestants import PLATFORM, Site
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError, free_port

POLL_SECONDS = 0.0002
GIVE_UP_SECONDS = 10.0
WARM_UPS = 3


def alone(site: Site) -> float:
    """Milliseconds from the program's spawn to its first answer, polled far more often than the platform does."""
    port = free_port()
    argv = [str(site.upstream), str(port)]
    began = time.perf_counter()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as program:
        try:
            while True:
                try:
                    with Connection(f"http://127.0.0.1:{port}") as connection:
                        connection.good()
                        return (time.perf_counter() - began) * 1000
                except ConnectionRefusedError:
                    if time.perf_counter() - began > GIVE_UP_SECONDS:
                        raise BenchError("the upstream program does not listen") from None
                    time.sleep(POLL_SECONDS)
        finally:
            program.kill()


def through_platform(connection: Connection, name: str) -> float:
    """Milliseconds from a request to a new name to its answer. Its container is destroyed afterwards."""
    headers = {"X-Session-ID": name}
    began = time.perf_counter()
    connection.good("/", headers)
    took = (time.perf_counter() - began) * 1000
    connection.good("/", {**headers, "X-Bench": "destroy"})
    return took


def row(name: str, samples: list[float]) -> Row:
    """Median and tail of some milliseconds."""
    tail = Figure.of([quantiles(samples, n=10)[-1] if len(samples) > 1 else samples[0]], "ms")
    return Row(name, {"median": Figure.of(samples, "ms"), "p90": tail})


def run(bench: Bench) -> Result:
    program: list[float] = []
    platform: list[float] = []
    with bench.contestants([PLATFORM], app="cold") as [contestant], Connection(contestant.url) as connection:
        for number in range(WARM_UPS + bench.effort.samples):
            bench.progress(f"cold start {number + 1} of {WARM_UPS + bench.effort.samples}")
            program.append(alone(bench.site))
            platform.append(through_platform(connection, f"cold-{number}"))
    program, platform = program[WARM_UPS:], platform[WARM_UPS:]
    added = median(platform) - median(program)
    return Result(
        (row("the program alone", program), row(f"through {PLATFORM}", platform)),
        (Verdict("added to the program's own start", added, "ms", Direction.AT_MOST, bound=5.0, aim=2.0),),
    )


CASE = Case(title="cold start of a process: the first request to a new name", run=run)
