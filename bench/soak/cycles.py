"""1,000 starts and stops, half by SIGTERM and half by SIGKILL: memory, processes and files stay bounded."""

import json
import time

from bench.harness.case import Bench, Case
from bench.harness.figures import Result
from bench.harness.growth import Watch
from bench.harness.plain_http import Connection
from bench.harness.process import BenchError

CYCLES = 1000
WARM_UP = 100
NAMES = 50
SAMPLE_EVERY = 50
STOP_SECONDS = 10.0


def cycle(connection: Connection, number: int) -> None:
    """Start a container by a request, end it, and wait until it is known to have ended."""
    headers = {"X-Session-ID": f"cycle-{number % NAMES}"}
    connection.good("/", headers)
    connection.good("/", {**headers, "X-Bench": "stop" if number % 2 else "destroy"})
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        state = json.loads(connection.good("/", {**headers, "X-Bench": "state"}).body)
        if str(state["status"]).startswith("stopped"):
            return
        if time.monotonic() > deadline:
            raise BenchError(f"cycle {number}: still {state} after {STOP_SECONDS:.0f} s")
        time.sleep(0.002)


def run(bench: Bench) -> Result:
    watch = Watch(bench, "lifecycle")
    with watch as platform, Connection(platform.url) as connection:
        for number in range(WARM_UP + CYCLES):
            if number % SAMPLE_EVERY == 0:
                bench.progress(f"{number:,} cycles")
            if number >= WARM_UP and number % SAMPLE_EVERY == 0:
                watch.sample()
            cycle(connection, number)
        watch.sample()
    return watch.result()


CASE = Case(title=f"{CYCLES:,} start and stop cycles over {NAMES} names", run=run)
