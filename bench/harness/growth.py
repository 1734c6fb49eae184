"""A platform that is watched while it works: how its memory moves, and what is left once it has stopped."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import psutil

from bench.harness import leftovers
from bench.harness.case import Bench
from bench.harness.contestants import Contestant, start_platform
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.process import BenchError

MIB = 1 << 20
RSS_BOUND_MIB = 5.0
SUPERVISOR_SECONDS = 30.0  # within which a supervisor without containers and without a platform ends


class Watch:
    """A platform on `app`, its memory and that of its supervisor, sample by sample; a context manager."""

    def __init__(self, bench: Bench, app: str, *, bound: float = RSS_BOUND_MIB) -> None:
        """``bound``: MiB that memory may be away from where it was first."""
        self._bound = bound
        self._bench = bench
        self._app = app
        self._data = bench.site.folder / "data"
        self._elsewhere = leftovers.Elsewhere(apart_from=bench.site.folder)
        self._platform: list[float] = []
        self._supervisor: list[float] = []
        self._remarks: list[str] = []
        self._verdicts: list[Verdict] = []

    def __enter__(self) -> Contestant:
        self.contestant = start_platform(self._bench.site, self._app, data_dir=self._data)
        return self.contestant

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = self.contestant.stop()
        if error is None:
            self._after(code)

    def sample(self) -> None:
        """Note how much memory is in use now. The first sample is what the others are compared with."""
        self._platform.append(self.contestant.usage().rss / MIB)
        self._supervisor.append(supervisor_rss(self._data) / MIB)

    def result(self) -> Result:
        """What was found, after the block."""
        rows, verdicts = [], []
        for name, samples in (("platform", self._platform), ("supervisor", self._supervisor)):
            growth = max(samples, key=lambda value: abs(value - samples[0])) - samples[0]
            columns = {"first": samples[0], "last": samples[-1], "lowest": min(samples), "highest": max(samples)}
            rows.append(Row(name, {key: Figure.of([value], "MiB") for key, value in columns.items()}))
            verdicts.append(
                Verdict(f"RSS of the {name}, ± from the first", abs(growth), "MiB", Direction.AT_MOST, self._bound)
            )
        return Result(tuple(rows), (*verdicts, *self._verdicts), tuple(self._remarks))

    def _after(self, code: int) -> None:
        found = {
            "processes left": leftovers.processes_after(self._bench.site.folder, seconds=SUPERVISOR_SECONDS),
            "files left in the data folder": leftovers.files(self._data),
            "temporary files left": [
                *(str(path) for path in (self._bench.site.folder / "tmp").iterdir()),
                *self._elsewhere.new(),
            ],
        }
        self._verdicts.append(Verdict("exit code of the platform", code, "", Direction.AT_MOST, 0))
        for what, items in found.items():
            self._verdicts.append(Verdict(what, len(items), "", Direction.AT_MOST, 0))
            self._remarks += [f"{what}: {item}" for item in items[:20]]


def supervisor_rss(data: Path) -> int:
    """Resident bytes of the supervisor of a data folder. Raises BenchError where there is not exactly one."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if any("moorings.runtimes.process.supervisor" in word for word in command) and any(
                str(data) in word for word in command
            ):
                found.append(process.memory_info().rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    if len(found) != 1:
        raise BenchError(f"{len(found)} supervisors of {data}, where one is expected")
    return int(found[0])
