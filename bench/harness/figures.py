"""Figures with their noise: the median of some samples, and how far apart they were."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

MANY = 20


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of `samples`, in `unit`, and how far they lie apart as a part of it: 0.1 is 10 %.

    `spread` is that of all samples where there are few, and that of the middle half where there are many.
    """

    median: float
    unit: str
    spread: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Iterable[float], unit: str) -> Figure:
        """Raises ValueError where there is no sample."""
        values = tuple(samples)
        if not values:
            raise ValueError("a figure needs a sample")
        median = statistics.median(values)
        low, high = min(values), max(values)
        if len(values) >= MANY:
            low, _, high = statistics.quantiles(values, n=4)
        return cls(median, unit, (high - low) / abs(median) if median else 0.0, values)


@dataclass(frozen=True, slots=True)
class Row:
    """What was found about one contestant; the keys of `figures` are the table's columns."""

    name: str
    figures: Mapping[str, Figure]
    note: str = ""


class Direction(StrEnum):
    """Which side of a bound is good."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure of the platform beside what the project wants of it: `bound` must hold, `aim` is the next goal."""

    what: str
    value: float
    unit: str
    direction: Direction
    bound: float
    aim: float | None = None

    @property
    def met(self) -> bool:
        return self._holds(self.bound)

    @property
    def reached_aim(self) -> bool:
        return self.aim is not None and self._holds(self.aim)

    def _holds(self, limit: float) -> bool:
        return self.value >= limit if self.direction is Direction.AT_LEAST else self.value <= limit


@dataclass(frozen=True, slots=True)
class Result:
    """What a case gives: a table, its verdicts, and remarks for the reader."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...] = ()
    remarks: tuple[str, ...] = ()
