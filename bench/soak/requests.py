"""200,000 requests through a worker: memory does not grow with what has passed."""

from bench.harness.case import Bench, Case
from bench.harness.figures import Result
from bench.harness.growth import Watch
from bench.harness.load import Load, RequestHeaders, run_wrk
from bench.harness.process import BenchError
from bench.harness.throughput import check_answer

REQUESTS = 200_000
WARM_UP = 20_000
SLICE_SECONDS = 2
LOAD = Load(headers=RequestHeaders.BROWSER)


def run(bench: Bench) -> Result:
    watch = Watch(bench, "session")
    with watch as platform:
        check_answer(platform, LOAD, length=200)
        sent, measured_from = 0, None
        while measured_from is None or sent - measured_from < REQUESTS:
            bench.progress(f"{sent:,} requests")
            seen = run_wrk(platform.url, LOAD, seconds=SLICE_SECONDS, core=bench.site.cores.load)
            if seen.errors:
                raise BenchError(f"{seen.errors} errors among {seen.requests} answers")
            sent += seen.requests
            if sent >= WARM_UP:
                measured_from = sent if measured_from is None else measured_from
                watch.sample()
    return watch.result()


CASE = Case(title=f"{REQUESTS:,} requests", run=run)
