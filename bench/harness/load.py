"""Load from wrk, on the load core, and what it saw."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from bench.harness.process import BenchError, find

SCRIPT = Path(__file__).with_name("load.lua")


class RequestHeaders(StrEnum):
    """What each request carries besides Host and X-Session-ID."""

    FEW = "few"
    BROWSER = "browser"  # twelve of them, as a browser sends them; one differs from request to request


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: GET `path` of one session over `connections` keep-alive connections."""

    path: str = "/"
    connections: int = 64
    headers: RequestHeaders = RequestHeaders.FEW
    session: str = "a"


@dataclass(frozen=True, slots=True)
class Seen:
    """What wrk saw. Latencies are in milliseconds; `errors` are failed connections, timeouts and statuses above 399."""

    seconds: float
    requests: int
    bytes: int
    errors: int
    p50: float
    p99: float
    worst: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Wrk:
    """A running wrk; a context manager that leaves none behind."""

    def __init__(self, url: str, load: Load, *, seconds: float, core: int) -> None:
        argv = [find("taskset"), "-c", str(core), find("wrk"), "-t", "1", "-c", str(load.connections)]
        argv += ["-d", f"{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT), url + load.path]
        argv += ["--", load.session, load.headers.value]
        self._popen = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self) -> Wrk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._popen.returncode is None:
            self._popen.kill()
            self._popen.communicate()

    def result(self) -> Seen:
        """Wait for its end. Raises BenchError where it found nothing to talk to."""
        output, _ = self._popen.communicate()
        return reported("wrk", output)


def reported(program: str, output: str) -> Seen:
    """What a load program says in its line that begins with BENCH. Raises BenchError."""
    for line in output.splitlines():
        if line.startswith("BENCH "):
            seen = Seen(**json.loads(line.removeprefix("BENCH ")))
            if seen.requests == 0:
                raise BenchError(f"{program} got no answer:\n{output}")
            return seen
    raise BenchError(f"{program} failed:\n{output}")


Drive = Callable[[str, float, int], Seen]
"""Load of some kind: the URL, for how many seconds, from which core."""


def run_program(program: str, arguments: Sequence[str], *, seconds: float, core: int) -> str:
    """Run a load program on a core; what it printed. Raises BenchError where it takes far longer than it should."""
    command = [find("taskset"), "-c", str(core), program, *arguments]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds + 60
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{program} did not end in time") from error
    return done.stdout


def run_wrk(url: str, load: Load, *, seconds: float, core: int) -> Seen:
    """Send `load` to `url` for some seconds (whole ones: wrk knows no others)."""
    with Wrk(url, load, seconds=seconds, core=core) as wrk:
        return wrk.result()
