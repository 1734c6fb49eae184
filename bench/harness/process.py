"""Processes that the bench starts: pinned to a core, their output in a file, CPU time and memory read from /proc.

Nothing that was started here is left running once `stop` has returned.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

STOP_SECONDS = 15.0
POLL_SECONDS = 0.005
SYSTEM_PATH = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


class BenchError(Exception):
    """Something that the bench needs did not work. The message says what, and shows the program's own words."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the contestants run on, and which one the load and the programs behind them."""

    proxy: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The first two cores that this process may use; the same one twice where there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(proxy=usable[0], load=usable[1] if len(usable) > 1 else usable[0])


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since their start, and resident bytes, of some processes together."""

    cpu: float
    rss: int


def busy_seconds(cores: Cores) -> float:
    """CPU seconds that all programs together have used on these cores since the machine started."""
    times = psutil.cpu_times(percpu=True)
    return float(sum(times[core].user + times[core].nice + times[core].system for core in {cores.proxy, cores.load}))


def driver_seconds() -> float:
    """CPU seconds of this process, and of the children of it that have ended."""
    return sum(os.times()[:4])


def program_seconds(program: Path) -> float:
    """CPU seconds of every process that runs that file."""
    used = 0.0
    for process in psutil.process_iter():
        try:
            if process.exe() == str(program):
                times = process.cpu_times()
                used += times.user + times.system
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return used


def find(program: str) -> str:
    """The path of an installed program. Raises BenchError."""
    path = shutil.which(program, path=SYSTEM_PATH)
    if path is None:
        raise BenchError(f"{program} is not installed (`make bench` installs it)")
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A running program, the leader of a session of its own."""

    def __init__(
        self, name: str, argv: Sequence[str], *, core: int, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [find("taskset"), "-c", str(core), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def wait_for(self, ready: Callable[[], T | None], *, seconds: float = 20.0) -> T:
        """Poll until `ready` gives something. Raises BenchError when the program ends or the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            found = ready()
            if found is not None:
                return found
            if self._popen.poll() is not None:
                raise BenchError(f"{self.name} ended with exit code {self._popen.returncode}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} was not ready within {seconds:.0f} s:\n{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def wait_for_port(self, port: int) -> None:
        """Until that port accepts. Raises BenchError."""
        self.wait_for(lambda: accepts(port) or None)

    def last_words(self, lines: int = 20) -> str:
        """The end of what the program printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def usage(self, *, children: bool) -> Usage:
        """CPU time and memory of the program, with that of its children where asked for."""
        me = psutil.Process(self.pid)
        family = [me, *(me.children(recursive=True) if children else ())]
        times = [process.cpu_times() for process in family]
        return Usage(sum(t.user + t.system for t in times), sum(process.memory_info().rss for process in family))

    def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and SIGKILL for the whole session where that isn't enough; the exit code."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()
