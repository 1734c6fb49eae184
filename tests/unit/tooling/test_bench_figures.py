"""The bench's figures, verdicts and tables, and that every case can be loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bench.cases
import bench.soak
from bench.harness.case import load_cases
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.report import render, sentence
from tests.support.documents import rows

README = Path(bench.__file__).parent / "README.md"


def test_a_figure_is_the_median_with_the_band_of_its_samples() -> None:
    figure = Figure.of([90.0, 100.0, 130.0], "ms")
    assert (figure.median, figure.spread) == (100.0, 0.4)


def test_many_samples_are_judged_by_their_middle_half() -> None:
    figure = Figure.of([*range(100, 140), 1_000_000], "ms")
    assert figure.spread < 0.2


def test_a_figure_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a sample"):
        Figure.of([], "ms")


@pytest.mark.parametrize(
    ("direction", "value", "met"),
    [
        (Direction.AT_LEAST, 0.5, True),
        (Direction.AT_LEAST, 0.49, False),
        (Direction.AT_MOST, 5.0, True),
        (Direction.AT_MOST, 5.1, False),
    ],
)
def test_a_bound_is_met_on_its_good_side_and_on_itself(direction: Direction, value: float, met: bool) -> None:
    bound = 0.5 if direction is Direction.AT_LEAST else 5.0
    verdict = Verdict("x", value, "ms", direction, bound)
    assert verdict.met is met
    assert ("NOT MET" in sentence(verdict)) is not met


def test_a_table_has_a_column_for_each_figure_of_any_row() -> None:
    rows = (
        Row("nginx", {"req/s": Figure.of([40_000.0], "req/s")}),
        Row("moorings", {"req/s": Figure.of([20_000.0, 24_000.0], "req/s"), "RSS": Figure.of([30.0], "MiB")}),
    )
    assert render("warm", Result(rows)).splitlines() == [
        "## warm",
        "",
        "               req/s  RSS MiB",
        "nginx         40,000",
        "moorings  22,000 ±9%     30.0",
    ]


def test_every_case_of_the_bench_and_of_the_soak_can_be_loaded_and_is_in_the_readme() -> None:
    cases, soak = set(load_cases(bench.cases)), set(load_cases(bench.soak))
    assert {"warm", "warm_headers", "body_1mib", "cold_start", "slow_neighbours"} <= cases
    assert {"requests", "cycles"} <= soak
    assert {name for row in rows(README) for name in re.findall(r"`(\w+)`", row[0])} == cases | soak
