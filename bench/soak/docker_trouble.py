"""A fork bomb, a memory hog, a disk filler and a program that prints without end, each in a container of its own.

The platform and a calm container go on answering, each end has its reason, and the Engine's folder doesn't fill up.
"""

from __future__ import annotations

import time
from statistics import quantiles

from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError
from tests.support.platform import Mode, Platform
from tools.engine import Engine, EngineNotPossible

CALM_SECONDS = 5.0
TROUBLE_SECONDS = 20.0
P99_BOUND_MS = 500.0
DISK_BOUND_MB = 150.0
REASONS = {"HOG": "oom", "BOMB": "destroyed", "FILLER": "destroyed", "CHATTER": "destroyed"}


def used_mb(engine: Engine) -> float:
    """What is on the disk below the Engine's folder, in MB."""
    files = (path for path in (engine.folder / "data" / "containers").rglob("*") if path.is_file())
    layers = (path for path in (engine.folder / "data" / "overlay2").glob("*/diff/tmp/*") if path.is_file())
    return sum(path.stat().st_size for each in (files, layers) for path in each) / 1e6


def p99(connection: Connection, seconds: float) -> float:
    """Milliseconds of requests to the calm container, one after the other, for some seconds."""
    samples: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        connection.good("/", {"X-Class": "CALM"})
        samples.append((time.perf_counter() - began) * 1000)
        time.sleep(0.01)
    return quantiles(samples, n=100)[-1]


def ended(connection: Connection, binding: str) -> str:
    """End a container, where it hasn't ended by itself, and tell the reason."""
    deadline = time.monotonic() + 30
    while not (reason := connection.good("/reason", {"X-Class": binding}).body.decode()):
        if binding != "HOG":
            connection.good("/destroy", {"X-Class": binding})
        if time.monotonic() > deadline:
            raise BenchError(f"the end of {binding} is not told")
        time.sleep(0.1)
    return reason


def run(bench: Bench) -> Result:
    try:
        engine = Engine()
    except EngineNotPossible as error:
        raise BenchError(str(error)) from None
    with engine, engine.network():
        before = engine.inventory()
        worker = BENCH / "apps" / "docker_trouble.py"
        folder = bench.compiled("upstream").parent / "trouble"
        with (
            Platform(worker, folder, mode=Mode.SERVE, engine=engine) as served,
            Connection(f"http://127.0.0.1:{served.address[1]}") as connection,
        ):
            for binding in ("CALM", *REASONS):
                connection.good("/", {"X-Class": binding})
            calm = p99(connection, CALM_SECONDS)
            for binding in REASONS:
                connection.good("/go", {"X-Class": binding})
            bench.progress("trouble")
            troubled = p99(connection, TROUBLE_SECONDS)
            disk = used_mb(engine)
            told = {binding: ended(connection, binding) for binding in REASONS}
            wrong = [f"{binding} {told[binding]}" for binding, reason in REASONS.items() if told[binding] != reason]
        after = engine.inventory()
        left = sum(len(after[kind] - before[kind]) for kind in before)
    return Result(
        (
            Row("p99 of a calm container", {"alone": Figure.of([calm], "ms"), "with": Figure.of([troubled], "ms")}),
            Row("the Engine's logs and layers", {"with": Figure.of([disk], "MB")}),
        ),
        (
            Verdict("p99 beside all of them", troubled, "ms", Direction.AT_MOST, bound=P99_BOUND_MS, aim=P99_BOUND_MS),
            Verdict("disk used", disk, "MB", Direction.AT_MOST, bound=DISK_BOUND_MB, aim=DISK_BOUND_MB),
            Verdict(f"ends with a wrong reason {wrong}", len(wrong), "", Direction.AT_MOST, bound=0.0, aim=0.0),
            Verdict("things left on the Engine", left, "", Direction.AT_MOST, bound=0.0, aim=0.0),
        ),
    )


CASE = Case(title="a fork bomb, a memory hog, a disk filler and endless output on Docker", run=run)
