"""The one interface of a case: a file in bench/cases or bench/soak with a `CASE`.

Its `run` gets a `Bench`, starts what it needs, measures, stops all of it, and gives a `Result`.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType, TracebackType

from bench.harness.contestants import (
    BENCH,
    PLATFORM,
    REFERENCE,
    Contestant,
    Site,
    UpstreamProgram,
    start_platform,
    start_proxy,
)
from bench.harness.figures import Result
from bench.harness.process import BenchError, Cores, find


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: `rounds` of `seconds` each per contestant, `samples` of what is measured one by one."""

    rounds: int
    seconds: int
    samples: int
    contestants: tuple[str, ...]


FULL = Effort(rounds=5, seconds=4, samples=200, contestants=(REFERENCE, "haproxy", "caddy", PLATFORM))
SOAK = Effort(rounds=1, seconds=1, samples=1, contestants=(PLATFORM,))
QUICK = Effort(rounds=3, seconds=1, samples=40, contestants=(REFERENCE, PLATFORM))


class Takes(Enum):
    """How long a case takes with little effort."""

    SECONDS = "seconds"
    LONG = "long"


class Bench:
    """A run: the place where it happens and how much effort to make. A context manager that leaves nothing behind."""

    def __init__(self, effort: Effort, *, progress: Callable[[str], None]) -> None:
        self.effort = effort
        self.progress = progress
        self._folder = Path(tempfile.mkdtemp(prefix="moorings-bench-"))
        self.site = Site(Cores.choose(), self._folder, self._folder / "upstream")

    def __enter__(self) -> Bench:
        self.compiled("upstream")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def compiled(self, name: str) -> Path:
        """A program of bench/programs, compiled into this run's folder. Raises BenchError."""
        program = self._folder / name
        if not program.exists():
            source = BENCH / "programs" / f"{name}.c"
            command = [find("cc"), "-O2", "-o", str(program), str(source)]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                raise BenchError(f"{source.name} does not compile:\n{built.stderr}")
        return program

    @contextmanager
    def contestants(self, names: Sequence[str] = (), *, app: str = "session") -> Iterator[list[Contestant]]:
        """The contestants of those names (all of this run's by default), running until the block ends."""
        running: list[Contestant] = []
        upstream = UpstreamProgram(self.site)
        try:
            for name in names or self.effort.contestants:
                if name == PLATFORM:
                    running.append(start_platform(self.site, app))
                else:
                    running.append(start_proxy(self.site, name, upstream.port))
            yield running
        finally:
            for contestant in running:
                contestant.stop()
            upstream.stop()


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured and how it is called in the report. What takes long is left out of a quick run of all cases."""

    title: str
    run: Callable[[Bench], Result]
    takes: Takes = Takes.SECONDS


def load_cases(package: ModuleType) -> dict[str, Case]:
    """Every case of a package by its file's name, in the order of names. Raises BenchError for a file without one."""
    cases: dict[str, Case] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        if module.name.startswith("_"):
            continue
        case = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "CASE", None)
        if not isinstance(case, Case):
            raise BenchError(f"{package.__name__}.{module.name} has no CASE")
        cases[module.name] = case
    return cases
