"""The first request to a new name on Docker, and the first to a frozen one: what the platform adds to the Engine.

Both sides are measured in turn on one private Engine. The Engine's own: create, start, look where it is, and ask until
the program answers; for a frozen one, the time that unpausing takes and the answer.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

from bench.cases.cold_start import row
from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH, PLATFORM
from bench.harness.figures import Direction, Result, Verdict
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError
from bench.harness.upstream_image import upstream_image
from tests.support.platform import Mode, Platform
from tools.engine import Engine, EngineNotPossible

POLL_SECONDS = 0.0005
GIVE_UP_SECONDS = 20.0
SETTLED_SECONDS = 0.1
"""From a freeze to what is measured, on both sides."""
SAMPLES = 20
THAWS = 16


def ask_until_answered(url: str) -> None:
    """The first answer of a program that is starting."""
    deadline = time.perf_counter() + GIVE_UP_SECONDS
    while True:
        try:
            with Connection(url) as connection:
                connection.good()
                return
        except OSError:
            if time.perf_counter() > deadline:
                raise BenchError(f"nothing answers at {url}") from None
            time.sleep(POLL_SECONDS)


def by_the_engine(engine: Engine, image: str, network: str) -> tuple[str, str, float]:
    """A container's id and address, and the milliseconds from its creation to its first answer."""
    began = time.perf_counter()
    host = {"Init": True, "NetworkMode": network, "LogConfig": {"Type": "local"}}
    made = engine.ask("POST", "/containers/create", {"Image": image, "HostConfig": host})
    engine.ask("POST", f"/containers/{made['Id']}/start")
    shown = engine.ask("GET", f"/containers/{made['Id']}/json")
    url = f"http://{next(iter(shown['NetworkSettings']['Networks'].values()))['IPAddress']}:3000"
    ask_until_answered(url)
    return made["Id"], url, (time.perf_counter() - began) * 1000


def thaw_by_the_engine(engine: Engine, id: str, url: str) -> float:
    """Milliseconds that unpausing takes, with the answer."""
    engine.ask("POST", f"/containers/{id}/pause")
    time.sleep(SETTLED_SECONDS)
    with Connection(url) as connection:
        began = time.perf_counter()
        engine.ask("POST", f"/containers/{id}/unpause")
        connection.good()
        return (time.perf_counter() - began) * 1000


def thaw_by_the_platform(served: Platform, connection: Connection, name: str) -> float:
    """Milliseconds of the first request to a container that is frozen.

    Its state says ``paused`` from before the Engine is asked to freeze it: what counts is what the Engine says.
    """
    headers = {"X-Session-ID": name, "X-Bench": "frozen"}
    connection.good("/", headers)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while all(each["State"] != "paused" for each in served.docker_containers()):
        if time.monotonic() > deadline:
            raise BenchError("the container is not frozen")
        time.sleep(0.05)
    time.sleep(SETTLED_SECONDS)
    began = time.perf_counter()
    connection.good("/", headers)
    return (time.perf_counter() - began) * 1000


def run(bench: Bench) -> Result:
    folder = upstream_image(bench, "image")
    os.sched_setaffinity(0, {bench.site.cores.proxy, bench.site.cores.load})  # the Engine's and its containers', too
    try:
        engine = Engine()
    except EngineNotPossible as error:
        raise BenchError(str(error)) from None
    with engine, engine.network():
        return measured(bench, engine, folder)


def measured(bench: Bench, engine: Engine, folder: Path) -> Result:
    """Both sides, in turn."""
    own: list[float] = []
    platform: list[float] = []
    thaws: list[tuple[float, float]] = []
    env = {"BENCH_IMAGE": str(folder)}
    worker = BENCH / "apps" / "docker_cold.py"
    with (
        Platform(worker, folder.parent / "docker", mode=Mode.SERVE, engine=engine, env=env) as served,
        Connection(f"http://127.0.0.1:{served.address[1]}") as connection,
    ):
        for number in range(SAMPLES + 2):
            bench.progress(f"cold start {number + 1} of {SAMPLES + 2}")
            headers = {"X-Session-ID": f"cold-{number}"}
            began = time.perf_counter()
            connection.good("/", headers)
            platform.append((time.perf_counter() - began) * 1000)
            [container] = served.docker_containers()
            network = next(iter(container["NetworkSettings"]["Networks"].values()))["NetworkID"]
            connection.good("/", {**headers, "X-Bench": "destroy"})
            while served.docker_containers():
                time.sleep(0.02)
            id, url, took = by_the_engine(engine, container["Image"], network)
            own.append(took)
            if number < THAWS:
                bench.progress(f"thaw {number + 1} of {THAWS}")
                thaws.append((thaw_by_the_engine(engine, id, url), thaw_by_the_platform(served, connection, "frozen")))
            engine.ask("DELETE", f"/containers/{id}?force=1")
            connection.good("/", {"X-Session-ID": "frozen", "X-Bench": "destroy"})
            for each in served.docker_containers():
                engine.ask("DELETE", f"/containers/{each['Id']}?force=1")
            while served.docker_containers():
                time.sleep(0.02)
    own, platform = own[2:], platform[2:]
    engine_thaws, platform_thaws = [one for one, _ in thaws], [other for _, other in thaws]
    return Result(
        (
            row("the Engine's create + start", own),
            row(f"through {PLATFORM}", platform),
            row("the Engine's unpause", engine_thaws),
            row(f"thawed through {PLATFORM}", platform_thaws),
        ),
        (
            Verdict(
                "added to create + start", median(platform) - median(own), "ms", Direction.AT_MOST, bound=15.0, aim=15.0
            ),
            Verdict(
                "added to the unpause",
                median(platform_thaws) - median(engine_thaws),
                "ms",
                Direction.AT_MOST,
                bound=5.0,
                aim=5.0,
            ),
        ),
    )


CASE = Case(title="cold start and thaw on Docker: the first request to a new name, and to a frozen one", run=run)
