"""The platform's start on a data folder that holds much, beside its start on an empty one."""

from __future__ import annotations

import time
from pathlib import Path

from bench.harness.case import Bench
from bench.harness.contestants import PLATFORM, start_platform
from bench.harness.figures import Direction, Figure, Row, Verdict
from bench.harness.plain_http import Connection

SETTLING = 1.0
"""Seconds after the first answer: what start-up leaves to do afterwards counts as memory, too."""

TOOK, MEMORY = "start to first answer", "memory"
MIB = 1 << 20


def start(bench: Bench, app: str, data: Path) -> tuple[float, float]:
    """Seconds from the start to the first answer, and MiB a little later. The platform is stopped afterwards."""
    began = time.perf_counter()
    platform = start_platform(bench.site, app, data_dir=data)
    try:
        with Connection(platform.url) as connection:
            connection.good()
            took = time.perf_counter() - began
            time.sleep(SETTLING)
            return took, platform.usage().rss / MIB
    finally:
        platform.stop()


def beside_empty(
    bench: Bench, app: str, data: Path, *, rounds: int, names: tuple[str, str], longest: float, most: float
) -> tuple[tuple[Row, ...], tuple[Verdict, ...]]:
    """Rows of starts on an empty folder and on ``data``, in turn, and what they come to.

    ``names`` say what is in each. The start takes ``longest`` seconds at most, and ``most`` MiB more than on the empty
    one.
    """
    folders = bench.site.folder / "empty", data
    seen: tuple[list[tuple[float, float]], ...] = [], []
    for number in range(rounds):
        bench.progress(f"start {number + 1} of {rounds}")
        for folder, found in zip(folders, seen, strict=True):
            found.append(start(bench, app, folder))
    rows = tuple(
        Row(
            f"{PLATFORM}, {name}",
            {
                TOOK: Figure.of([seconds for seconds, _ in found], "s"),
                MEMORY: Figure.of([mib for _, mib in found], "MiB"),
            },
        )
        for name, found in zip(names, seen, strict=True)
    )
    empty, full = (row.figures for row in rows)
    more = full[MEMORY].median - empty[MEMORY].median
    return rows, (
        Verdict("start to the first answer", full[TOOK].median, "s", Direction.AT_MOST, longest),
        Verdict("memory over the empty platform", more, "MiB", Direction.AT_MOST, most),
    )
