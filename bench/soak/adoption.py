"""kill -9 with 1,000 running containers: the next platform finds all of them, and serves at once."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from bench.harness import leftovers
from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH, PLATFORM, Contestant, start_platform
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError, find

CONTAINERS = 1000
KILLS = 3
SUPERVISOR_SECONDS = 30.0
SHOW_EVERY = 100


def compile_program(folder: Path) -> None:
    """The program of the containers, beside the upstream program. Raises BenchError."""
    source = BENCH / "programs" / "rememberer.c"
    command = [find("cc"), "-O2", "-static", "-o", str(folder / "rememberer"), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise BenchError(f"{source.name} does not compile:\n{built.stderr}")


def ask(connection: Connection, number: int) -> dict[str, int]:
    """One request to a container: its pid, and how often it was asked."""
    answer: dict[str, int] = json.loads(connection.good("/", {"X-Session-ID": f"s-{number}"}).body)
    return answer


def ask_all(bench: Bench, platform: Contestant, what: str) -> list[dict[str, int]]:
    """One request to each."""
    answers = []
    with Connection(platform.url) as connection:
        for number in range(CONTAINERS):
            if number % SHOW_EVERY == 0:
                bench.progress(f"{what}: {number:,} containers")
            answers.append(ask(connection, number))
    return answers


def others(before: list[dict[str, int]], after: list[dict[str, int]]) -> int:
    """How many containers are not the process that they were, or have lost their memory."""
    expected = [{"pid": one["pid"], "asked": one["asked"] + 1} for one in before]
    return sum(one != wanted for one, wanted in zip(after, expected, strict=True))


def run(bench: Bench) -> Result:
    compile_program(bench.site.folder)
    data = bench.site.folder / "data"
    listening, serving = [], []
    lost = 0
    platform = start_platform(bench.site, "remembering", data_dir=data)
    try:
        before = ask_all(bench, platform, "start")
        for number in range(KILLS):
            os.kill(platform.process.pid, signal.SIGKILL)
            platform.stop()
            began = time.perf_counter()
            platform = start_platform(bench.site, "remembering", data_dir=data)
            listening.append(time.perf_counter() - began)
            with Connection(platform.url) as connection:
                before[number] = {**before[number], "asked": before[number]["asked"] + 1}
                lost += ask(connection, number) != before[number]
            serving.append(time.perf_counter() - began)
            after = ask_all(bench, platform, f"kill {number + 1} of {KILLS}")
            lost += others(before, after)
            before = after
    finally:
        bench.progress("stop")
        code = platform.stop()
    left = leftovers.processes_after(bench.site.folder, seconds=SUPERVISOR_SECONDS)
    files = leftovers.files(data)
    row = Row(
        PLATFORM, {"start to listening": Figure.of(listening, "s"), "start to first answer": Figure.of(serving, "s")}
    )
    return Result(
        (row,),
        (
            Verdict("start of the new process to its first answer", max(serving), "s", Direction.AT_MOST, 2.0, aim=0.5),
            Verdict("containers with another pid, or without their memory", lost, "", Direction.AT_MOST, 0),
            Verdict("exit code of the platform", code, "", Direction.AT_MOST, 0),
            Verdict("processes left", len(left), "", Direction.AT_MOST, 0),
            Verdict("files left in the data folder", len(files), "", Direction.AT_MOST, 0),
        ),
        tuple(f"left: {item}" for item in [*left, *files][:20]),
    )


CASE = Case(title=f"kill -9 with {CONTAINERS:,} running containers", run=run)
