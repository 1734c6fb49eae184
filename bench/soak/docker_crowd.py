"""A hundred first requests at once to a hundred names of a class of which forty containers may run, on Docker.

Forty are answered and sixty refused with Retry-After, never do more than forty run, and whoever was refused is served
once the others sleep. Afterwards nothing is left on the Engine.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.process import BenchError
from bench.harness.upstream_image import upstream_image
from tests.support.platform import Mode, Platform
from tests.support.raw import Answer, exchange, request
from tools.engine import Engine, EngineNotPossible

NAMES = 100
PLACES = 40
PATIENCE = 120.0  # seconds that a single answer may take
RETRIES_WITHIN = 120.0  # seconds in which those who were refused are served


class Count:
    """How many containers run, by what the Engine tells as it happens. A context manager."""

    def __init__(self, engine: Engine) -> None:
        self.running = 0
        self.most = 0
        self.started = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(engine.socket))
        filters = quote(json.dumps({"type": ["container"], "event": ["start", "die"]}))
        self._socket.sendall(f"GET /events?filters={filters} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        self._lines = self._socket.makefile("rb")
        while self._lines.readline() not in (b"\r\n", b""):
            pass
        self._thread = threading.Thread(target=self._count, name="Engine events", daemon=True)

    def __enter__(self) -> Count:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._lines.close()
        self._socket.close()

    def _count(self) -> None:
        for line in self._lines:
            event: dict[str, Any] = json.loads(line)
            self.running += 1 if event["Action"] == "start" else -1
            self.started += event["Action"] == "start"
            self.most = max(self.most, self.running)


def run(bench: Bench) -> Result:
    try:
        engine = Engine()
    except EngineNotPossible as error:
        raise BenchError(str(error)) from None
    worker, image = BENCH / "apps" / "docker_crowd.py", upstream_image(bench, "crowd-image")

    def platform() -> Platform:
        env = {"BENCH_IMAGE": str(image)}
        return Platform(worker, image.parent / "crowd", mode=Mode.SERVE, engine=engine, env=env)

    with engine, engine.network():
        with platform():
            pass  # the image is there now
        before = engine.inventory()
        with platform() as served, Count(engine) as count:
            answers, took, retried = asyncio.run(crowd(bench, served))
        after = engine.inventory()
    answered = sum(answer.status == 200 for answer in answers)
    refused = sum(answer.status == 503 and int(answer.header("retry-after") or 0) > 0 for answer in answers)
    left = sum(len(after[kind] - before[kind]) for kind in before)
    none = Direction.AT_MOST
    return Result(
        (
            Row("first requests", {"200": Figure.of([answered], ""), "503 with Retry-After": Figure.of([refused], "")}),
            Row("time until all were told", {"s": Figure.of([took], "s")}),
            Row("time until the refused were served", {"s": Figure.of([retried], "s")}),
            Row("containers started", {"in all": Figure.of([count.started], "")}),
        ),
        (
            Verdict("most containers at any moment, spares included", count.most, "", none, PLACES),
            Verdict(f"answered, beside {PLACES}", abs(answered - PLACES), "", none, 0),
            Verdict(f"refused with Retry-After, beside {NAMES - PLACES}", abs(refused - NAMES + PLACES), "", none, 0),
            Verdict("containers, networks, images and volumes left on the Engine", left, "", none, 0),
        ),
    )


async def crowd(bench: Bench, platform: Platform) -> tuple[Sequence[Answer], float, float]:
    """The first answers, the seconds that they took, and those until the refused were served."""
    bench.progress(f"{NAMES} first requests at once")
    began = time.monotonic()
    answers = await asyncio.gather(*(ask(platform, number) for number in range(NAMES)))
    took = time.monotonic() - began
    refused = [number for number, answer in enumerate(answers) if answer.status == 503]
    bench.progress(f"{len(refused)} that were refused, again")
    began = time.monotonic()
    await asyncio.gather(*(served(platform, number) for number in refused))
    return answers, took, time.monotonic() - began


async def ask(platform: Platform, number: int) -> Answer:
    return await exchange(platform.address, request("GET", f"/name-{number}"), timeout=PATIENCE)


async def served(platform: Platform, number: int) -> None:
    """Ask until there is a place, as Retry-After says."""
    deadline = time.monotonic() + RETRIES_WITHIN
    while (answer := await ask(platform, number)).status != 200:
        wait = answer.header("retry-after")
        if answer.status != 503 or wait is None or time.monotonic() > deadline:
            raise BenchError(f"name-{number} was not served: {answer.status} {answer.text()[:500]}")
        await asyncio.sleep(int(wait))


CASE = Case(title=f"{NAMES} names at once, of which {PLACES} may run, on Docker", run=run)
