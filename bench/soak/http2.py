"""100,000 requests over one HTTP/2 connection, 100 streams at a time, to a container: no error, and memory stays."""

from __future__ import annotations

import re
import subprocess

from bench.harness.case import Bench, Case
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.growth import Watch
from bench.harness.load import Load
from bench.harness.process import BenchError, find
from bench.harness.throughput import check_answer

REQUESTS = 100_000
STREAMS = 100
WARM_UP = 20_000
SAMPLE_SECONDS = 2.0
LIMIT_SECONDS = 600.0
_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")
_REQUESTS = re.compile(r"requests: .*?(\d+) done, (\d+) succeeded")
_STATUSES = re.compile(r"status codes: (\d+) 2xx")


def run(bench: Bench) -> Result:
    watch = Watch(bench, "session")
    with watch as platform:
        check_answer(platform, Load(), length=200)
        bench.progress("warm-up")
        _h2load(bench, watch, platform.url, WARM_UP)
        watch.sample()
        bench.progress(f"{REQUESTS:,} requests, {STREAMS} streams")
        rate, whole = _h2load(bench, watch, platform.url, REQUESTS, sampling=True)
        watch.sample()
    seen = watch.result()
    row = Row("h2load", {"requests/s": Figure.of([rate], "req/s"), "answered 200": Figure.of([whole], "")})
    failed = Verdict(f"failed of {REQUESTS:,} requests", REQUESTS - whole, "", Direction.AT_MOST, 0)
    return Result((row, *seen.rows), (failed, *seen.verdicts), seen.remarks)


def _h2load(bench: Bench, watch: Watch, url: str, requests: int, *, sampling: bool = False) -> tuple[float, int]:
    """Requests a second, and how many were answered with a 2xx. Raises BenchError where h2load says neither."""
    log = bench.site.folder / "h2load.log"
    command = [find("taskset"), "-c", str(bench.site.cores.load), find("h2load"), "-n", str(requests), "-c", "1"]
    command += ["-m", str(STREAMS), "-H", f"x-session-id: {Load().session}", url + "/"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            for _ in range(round(LIMIT_SECONDS / SAMPLE_SECONDS)):
                try:
                    process.wait(SAMPLE_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if sampling:
                        watch.sample()
            else:
                raise BenchError(f"h2load did not end within {LIMIT_SECONDS:.0f} s")
        finally:
            process.kill()
    output = log.read_text(errors="replace")
    rate, done, statuses = _RATE.search(output), _REQUESTS.search(output), _STATUSES.search(output)
    if process.returncode != 0 or rate is None or done is None or statuses is None:
        raise BenchError(f"h2load failed:\n{output}")
    return float(rate[1]), min(int(done[2]), int(statuses[1]))


CASE = Case(title=f"{REQUESTS:,} requests over HTTP/2, {STREAMS} streams", run=run)
