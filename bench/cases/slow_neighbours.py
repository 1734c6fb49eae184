"""Warm requests while something slow goes on beside them: what one user's slowness costs the others.

Quiet, then with 256 requests in flight that the program answers after a second; the platform also with 256 handlers of
the worker that wait, and with other containers started and destroyed one after another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from bench.harness.case import Bench, Case
from bench.harness.contestants import PLATFORM, REFERENCE, Contestant
from bench.harness.figures import Figure, Result, Row
from bench.harness.load import Load, Wrk
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError
from bench.harness.throughput import WARM_UP_SECONDS, Round, check_answer, disturbance, measure

WARM = Load()
IN_FLIGHT = 256
MARGIN_SECONDS = 4  # by which a disturbance outlasts the measurement, which ends it

Disturbance = Callable[[Bench, Contestant], AbstractContextManager[object]]


def slow_load(load: Load) -> Disturbance:
    """The disturbance of requests that take long."""

    @contextmanager
    def disturb(bench: Bench, contestant: Contestant) -> Iterator[None]:
        seconds = bench.effort.seconds + MARGIN_SECONDS
        with Wrk(contestant.url, load, seconds=seconds, core=bench.site.cores.load):
            yield

    return disturb


class Churn:
    """Starts containers of new names and destroys them, one after another without a pause, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.starts = 0
        self.failure: Exception | None = None
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="churn")

    def __enter__(self) -> Churn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with Connection(self._url) as connection:
                while not self._ended.is_set():
                    headers = {"X-Session-ID": f"churn-{id(self)}-{self.starts}"}
                    connection.good("/", headers)
                    connection.good("/", {**headers, "X-Bench": "destroy"})
                    self.starts += 1
        except (OSError, BenchError) as error:
            self.failure = error


def quiet(bench: Bench, contestant: Contestant) -> AbstractContextManager[object]:
    return nullcontext()


def churn(bench: Bench, contestant: Contestant) -> AbstractContextManager[object]:
    return Churn(contestant.url)


SCENES: tuple[tuple[str, tuple[str, ...], Disturbance], ...] = (
    ("quiet", (REFERENCE, PLATFORM), quiet),
    ("slow programs", (REFERENCE, PLATFORM), slow_load(Load("/slow", connections=IN_FLIGHT, session="slow"))),
    ("slow handlers", (PLATFORM,), slow_load(Load("/?wait", connections=IN_FLIGHT, session="slow"))),
    ("containers come and go", (PLATFORM,), churn),
)


def run(bench: Bench) -> Result:
    rounds: dict[str, list[Round]] = {}
    starts: list[float] = []
    names = [name for name in (REFERENCE, PLATFORM) if name in bench.effort.contestants]
    with bench.contestants(names, app="lifecycle") as contestants:
        for contestant in contestants:
            check_answer(contestant, WARM, length=200)
            measure(bench, contestant, WARM, seconds=WARM_UP_SECONDS)
        for number in range(bench.effort.rounds):
            for scene, whose, disturb in SCENES:
                for contestant in contestants:
                    if contestant.name not in whose:
                        continue
                    bench.progress(f"round {number + 1} of {bench.effort.rounds}: {contestant.name}, {scene}")
                    with disturb(bench, contestant) as neighbour:
                        measured = measure(bench, contestant, WARM, seconds=bench.effort.seconds)
                    rounds.setdefault(f"{contestant.name}, {scene}", []).append(measured)
                    if isinstance(neighbour, Churn):
                        if neighbour.failure is not None:
                            raise BenchError(f"containers could not come and go: {neighbour.failure}")
                        starts.append(neighbour.starts / measured.seen.seconds)
    remarks = (f"containers came and went at {Figure.of(starts, '/s').median:.0f} a second",) if starts else ()
    rows = tuple(Row(name, figures(measured)) for name, measured in rounds.items())
    return Result(rows, remarks=(*remarks, *disturbance(rounds)))


def figures(measured: list[Round]) -> dict[str, Figure]:
    """What the warm requests saw."""
    return {
        "req/s": Figure.of((r.seen.rate for r in measured), "req/s"),
        "CPU µs/req": Figure.of((r.cpu_us for r in measured), "µs"),
        "p50": Figure.of((r.seen.p50 for r in measured), "ms"),
        "p99": Figure.of((r.seen.p99 for r in measured), "ms"),
        "worst": Figure.of((r.seen.worst for r in measured), "ms"),
    }


CASE = Case(title=f"warm requests while something slow goes on ({IN_FLIGHT} requests or handlers, or starts)", run=run)
