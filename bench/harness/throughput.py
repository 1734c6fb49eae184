"""Contestants under the same load in interleaved rounds: what most cases are made of.

Rounds are interleaved, and a ratio is taken within a round, so that what slows the machine down
for a while slows down both.
"""

from __future__ import annotations

import http.client
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.harness.case import Bench
from bench.harness.contestants import PLATFORM, REFERENCE, Contestant
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.load import Drive, Load, Seen, run_wrk
from bench.harness.process import BenchError, busy_seconds, driver_seconds, program_seconds

MIB = 1 << 20
WARM_UP_SECONDS = 1
DISTURBED = 0.05


@dataclass(frozen=True, slots=True)
class Round:
    """One contestant's round: what the load saw, and what it cost."""

    seen: Seen
    cpu_us: float  # per request
    rss: int
    others: float  # cores that programs outside of the bench kept busy meanwhile


def check_answer(contestant: Contestant, load: Load, *, length: int) -> None:
    """One request, whose answer must be whole: nothing is measured that doesn't work. Raises BenchError."""
    address = urlsplit(contestant.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("GET", load.path, headers={"X-Session-ID": load.session})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200 or len(body) != length:
            raise BenchError(f"{contestant.name} answered {response.status} with {len(body)} bytes: {body[:500]!r}")
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{contestant.name} gave no answer: {error!r}\n{contestant.process.last_words()}") from error
    finally:
        connection.close()


def measure(bench: Bench, contestant: Contestant, load: Load | Drive, *, seconds: int) -> Round:
    """One round. Raises BenchError where the load saw errors."""
    site = bench.site

    def foreign() -> float:
        ours = contestant.usage().cpu + driver_seconds() + program_seconds(site.upstream)
        return busy_seconds(site.cores) - ours

    before, foreign_before, began = contestant.usage(), foreign(), time.monotonic()
    if isinstance(load, Load):
        seen = run_wrk(contestant.url, load, seconds=seconds, core=site.cores.load)
    else:
        seen = load(contestant.url, seconds, site.cores.load)
    after, foreign_after, ended = contestant.usage(), foreign(), time.monotonic()
    if seen.errors:
        raise BenchError(f"{contestant.name}: {seen.errors} errors among {seen.requests} answers")
    others = max(0.0, foreign_after - foreign_before) / (ended - began)
    return Round(seen, (after.cpu - before.cpu) / seen.requests * 1e6, after.rss, others)


def interleave(
    bench: Bench, contestants: list[Contestant], load: Load | Drive, *, length: int = 0
) -> dict[str, list[Round]]:
    """Check and warm up each contestant, then measure them in turn, round after round.

    A Drive checks the answers that it gets.
    """
    for contestant in contestants:
        if isinstance(load, Load):
            check_answer(contestant, load, length=length)
        measure(bench, contestant, load, seconds=WARM_UP_SECONDS)
    rounds: dict[str, list[Round]] = {contestant.name: [] for contestant in contestants}
    for number in range(bench.effort.rounds):
        for contestant in contestants:
            bench.progress(f"round {number + 1} of {bench.effort.rounds}: {contestant.name}")
            rounds[contestant.name].append(measure(bench, contestant, load, seconds=bench.effort.seconds))
    return rounds


def ratios(rounds: dict[str, list[Round]], name: str) -> Figure:
    """The rate of `name` over that of the reference, round by round."""
    pairs = zip(rounds[name], rounds[REFERENCE], strict=True)
    return Figure.of((mine.seen.rate / reference.seen.rate for mine, reference in pairs), "x")


def tabulate(rounds: dict[str, list[Round]], *, as_bytes: bool, unit: str = "req") -> tuple[Row, ...]:
    """A row per contestant; rates in MiB/s where `as_bytes`, else in `unit` a second."""
    rows = []
    for name, measured in rounds.items():
        figures = {}
        if as_bytes:
            figures["MiB/s"] = Figure.of((r.seen.bytes / r.seen.seconds / MIB for r in measured), "MiB/s")
        else:
            figures[f"{unit}/s"] = Figure.of((r.seen.rate for r in measured), f"{unit}/s")
        if REFERENCE in rounds:
            figures[f"÷ {REFERENCE}"] = ratios(rounds, name)
        figures[f"CPU µs/{unit}"] = Figure.of((r.cpu_us for r in measured), "µs")
        figures["p50"] = Figure.of((r.seen.p50 for r in measured), "ms")
        figures["p99"] = Figure.of((r.seen.p99 for r in measured), "ms")
        figures["RSS"] = Figure.of((r.rss / MIB for r in measured), "MiB")
        rows.append(Row(name, figures))
    return tuple(rows)


def disturbance(rounds: dict[str, list[Round]]) -> tuple[str, ...]:
    """A remark where programs outside of the bench took a noticeable part of its cores."""
    part = statistics.mean(one.others for measured in rounds.values() for one in measured)
    if part < DISTURBED:
        return ()
    return (f"DISTURBED: other programs took {part:.0%} of a core meanwhile; trust CPU µs/req more than rates",)


def compare(bench: Bench, load: Load, *, length: int, bound: float, aim: float, as_bytes: bool = False) -> Result:
    """A whole case: all contestants under `load`; the platform's ratio to the reference beside `bound` and `aim`."""
    with bench.contestants() as contestants:
        rounds = interleave(bench, contestants, load, length=length)
    return Result(tabulate(rounds, as_bytes=as_bytes), verdict(rounds, bound=bound, aim=aim), disturbance(rounds))


def verdict(rounds: dict[str, list[Round]], *, bound: float, aim: float) -> tuple[Verdict, ...]:
    """The platform's ratio to the reference, where both took part."""
    if PLATFORM not in rounds or REFERENCE not in rounds:
        return ()
    ratio = ratios(rounds, PLATFORM).median
    return (Verdict(f"{PLATFORM} ÷ {REFERENCE}", ratio, "x", Direction.AT_LEAST, bound, aim),)
