"""The first request to a new name where a spare is warm, and the first to a frozen container.

The first is all the time there is, from the request to its answer, on the process runtime and on Docker where that can
be had. Thawing a process is compared with SIGCONT to a program of its own and the answer, in turn; thawing on Docker is
in ``docker_cold_start``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil

from bench.cases.cold_start import row
from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH, PLATFORM
from bench.harness.figures import Direction, Result, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError, free_port
from bench.harness.upstream_image import upstream_image
from tests.support.platform import Mode, Platform
from tools.engine import Engine, EngineNotPossible

GIVE_UP_SECONDS = 10.0
WARM_UPS = 2
OVER = 0.05
"""Seconds from the stop of a process until whoever asked for it has been told."""

REFILL = 0.6
"""Seconds in which the next spare is made; on Docker it takes this and half a second more."""


def by_spare(connection: Connection, name: str) -> float:
    """Milliseconds of the first request to a name. Its container is destroyed afterwards."""
    headers = {"X-Session-ID": name}
    began = time.perf_counter()
    connection.good("/", headers)
    took = (time.perf_counter() - began) * 1000
    connection.good("/", {**headers, "X-Do": "destroy"})
    return took


def of_frozen(upstream: Path) -> psutil.Process:
    """The process of the container of the class ``Frozen``. Raises BenchError."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.exe() == str(upstream) and process.environ().get("BENCH_ROLE") == "frozen":
                return process
    raise BenchError("the container that is to be frozen does not run")


def wait_until_stopped(process: psutil.Process) -> None:
    """Until the kernel says that a process has stopped, and all that stopped it is over. Raises BenchError."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while process.status() != psutil.STATUS_STOPPED:
        if time.monotonic() > deadline:
            raise BenchError(f"process {process.pid} is not stopped, but {process.status()}")
        time.sleep(0.01)
    time.sleep(OVER)


def thawed(connection: Connection, upstream: Path) -> float:
    """Milliseconds of the first request to a container that is frozen.

    Its state says ``paused`` from before its process is stopped: what counts is what the kernel says.
    """
    headers = {"X-Session-ID": "frozen", "X-Bench": "frozen"}
    connection.good("/", headers)
    wait_until_stopped(of_frozen(upstream))
    began = time.perf_counter()
    connection.good("/", headers)
    return (time.perf_counter() - began) * 1000


def continued(program: subprocess.Popen[bytes], connection: Connection) -> float:
    """Milliseconds from SIGCONT to the answer."""
    program.send_signal(signal.SIGSTOP)
    wait_until_stopped(psutil.Process(program.pid))
    began = time.perf_counter()
    program.send_signal(signal.SIGCONT)
    connection.good()
    return (time.perf_counter() - began) * 1000


def run(bench: Bench) -> Result:
    spares: list[float] = []
    own: list[float] = []
    thaws: list[float] = []
    samples = max(5, bench.effort.samples // 4)
    port = free_port()
    with (
        subprocess.Popen([str(bench.site.upstream), str(port)], stdin=subprocess.DEVNULL) as program,
        bench.contestants([PLATFORM], app="warm_spares") as [contestant],
        Connection(contestant.url) as connection,
    ):
        try:
            time.sleep(REFILL)
            with Connection(f"http://127.0.0.1:{port}") as alone:
                for number in range(WARM_UPS + samples):
                    bench.progress(f"spare and thaw {number + 1} of {WARM_UPS + samples}")
                    spares.append(by_spare(connection, f"new-{number}"))
                    own.append(continued(program, alone))
                    thaws.append(thawed(connection, bench.site.upstream))
                    time.sleep(REFILL)
        finally:
            program.kill()
    spares, own, thaws = spares[WARM_UPS:], own[WARM_UPS:], thaws[WARM_UPS:]
    docker = on_docker(bench, samples)
    rows = [
        row("first request, warm spare", spares),
        *([row("the same on Docker", docker)] if docker else []),
        row("SIGCONT", own),
        row(f"thawed through {PLATFORM}", thaws),
    ]
    verdicts = [
        Verdict(name, median(figures), "ms", Direction.AT_MOST, bound=10.0, aim=5.0)
        for name, figures in (("first request, warm spare", spares), ("first request, warm spare, Docker", docker))
        if figures
    ]
    added = median(thaws) - median(own)
    verdicts.append(Verdict("added to SIGCONT", added, "ms", Direction.AT_MOST, bound=5.0, aim=5.0))
    return Result(tuple(rows), tuple(verdicts))


def on_docker(bench: Bench, samples: int) -> list[float]:
    """First requests with a warm spare on Docker; empty where no Engine can be had."""
    folder = upstream_image(bench, "warm-image")
    os.sched_setaffinity(0, {bench.site.cores.proxy, bench.site.cores.load})  # the Engine's and its containers', too
    try:
        engine = Engine()
    except EngineNotPossible:
        return []
    worker = BENCH / "apps" / "warm_spares.py"
    env = {"BENCH_IMAGE": str(folder)}
    found = []
    with (
        engine,
        engine.network(),
        Platform(worker, folder.parent / "warm", mode=Mode.SERVE, engine=engine, env=env) as served,
        Connection(f"http://127.0.0.1:{served.address[1]}") as connection,
    ):
        for number in range(WARM_UPS + samples):
            bench.progress(f"spare on Docker {number + 1} of {WARM_UPS + samples}")
            deadline = time.monotonic() + GIVE_UP_SECONDS
            while not served.docker_containers() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(REFILL + 0.5)
            found.append(by_spare(connection, f"new-{number}"))
    return found[WARM_UPS:]


CASE = Case(title="warm spares and thaws: the first request to a new name, and to a frozen container", run=run)
