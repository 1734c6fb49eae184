"""Workflows: durable steps a second beside DBOS, and how soon an event is with the instance that waits for it."""

import json
import subprocess
import venv
from pathlib import Path

from bench.harness.case import Bench, Case, Takes
from bench.harness.contestants import BENCH, PLATFORM
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError, find

LOADS = {"200 workflows, trivial": (200, 100, 0), "200 workflows, 0-20 ms": (200, 40, 20), "1 workflow": (1, 1000, 0)}
"""Instances, steps in each, and the longest that a step takes (ms)."""

FEWER = 10
"""DBOS gets so many times fewer steps, so that a round takes as long as one of the platform."""

EVENTS = 500
BOUND = 10_000.0
DBOS = "dbos==3.4.0"
ENVIRONMENT = BENCH.parent / ".cache" / "dbos"


def dbos_python() -> Path:
    """The interpreter of an environment of its own with DBOS in it, made where it isn't there. Raises BenchError."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / f"{DBOS}.ready"
    if not ready.exists():
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        installed = subprocess.run(
            [str(python), "-m", "pip", "install", "-q", DBOS], capture_output=True, text=True, check=False
        )
        if installed.returncode:
            raise BenchError(f"{DBOS} can't be installed:\n{installed.stderr}")
        ready.touch()
    return python


def dbos_rates(bench: Bench, python: Path, instances: int, each: int, ms: int) -> list[float]:
    """Steps a second of DBOS on the contestants' core, on SQLite as it opens it. Raises BenchError."""
    folder = bench.site.folder / f"dbos-{instances}-{each}-{ms}"
    folder.mkdir()
    numbers = map(str, (instances, each, ms, bench.effort.rounds))
    program = str(BENCH / "programs" / "dbos_steps.py")
    command = [find("taskset"), "-c", str(bench.site.cores.proxy), str(python), program, str(folder), *numbers]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    except subprocess.TimeoutExpired:
        raise BenchError("DBOS took longer than 300 s") from None
    if done.returncode:
        raise BenchError(f"DBOS ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def run(bench: Bench) -> Result:
    rows, remarks = [], []
    trivial = 0.0
    try:
        python: Path | None = dbos_python()
    except BenchError as error:
        python = None
        remarks.append(f"without DBOS: {error}")
    rounds = range(bench.effort.rounds)
    with bench.contestants([PLATFORM], app="workflows") as [contestant], Connection(contestant.url) as connection:
        for name, (instances, each, ms) in LOADS.items():
            bench.progress(f"{PLATFORM}: {name}")
            path = f"/steps?instances={instances}&each={each}&ms={ms}"
            rates = [json.loads(connection.good(path).body)["rate"] for _ in rounds]
            rows.append(Row(f"{PLATFORM}, {name}", {"steps/s": Figure.of(rates, "/s")}))
            trivial = trivial or rows[-1].figures["steps/s"].median
        bench.progress("events")
        answers = [json.loads(connection.good(f"/events?events={EVENTS}").body) for _ in rounds]
        latency = {name: Figure.of([answer[name] * 1000 for answer in answers], "ms") for name in ("p50", "p99")}
    if python is not None:
        for name, (instances, each, ms) in LOADS.items():
            bench.progress(f"DBOS: {name}")
            rates = dbos_rates(bench, python, instances, max(1, each // FEWER), ms)
            rows.append(Row(f"DBOS, {name}", {"steps/s": Figure.of(rates, "/s")}))
    rows.append(Row(f"{PLATFORM}, an event sent to received", latency))
    verdict = Verdict("trivial steps at 200 workflows", trivial, "/s", Direction.AT_LEAST, bound=BOUND)
    return Result(
        tuple(rows),
        (verdict,),
        (*remarks, f"{DBOS} on the same Python, with its own SQLite settings, and {FEWER} times fewer steps a round"),
    )


CASE = Case(title="workflow steps, SQLite with fsync", run=run, takes=Takes.LONG)
