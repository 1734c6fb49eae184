"""WebSocket messages through the tunnel: what a message costs after the 101."""

from urllib.parse import urlsplit

from bench.harness.case import Bench, Case
from bench.harness.figures import Result
from bench.harness.load import Seen, reported, run_program
from bench.harness.throughput import disturbance, interleave, tabulate, verdict

SIZE = 64
CONNECTIONS = 64


def run(bench: Bench) -> Result:
    program = str(bench.compiled("wsload"))

    def drive(url: str, seconds: float, core: int) -> Seen:
        arguments = [str(urlsplit(url).port), str(CONNECTIONS), str(seconds), str(SIZE), "a"]
        return reported("wsload", run_program(program, arguments, seconds=seconds, core=core))

    with bench.contestants() as contestants:
        rounds = interleave(bench, contestants, drive)
    return Result(
        tabulate(rounds, as_bytes=False, unit="msg"), verdict(rounds, bound=0.7, aim=1.0), disturbance(rounds)
    )


CASE = Case(title=f"WebSocket echo, {SIZE}-byte messages, {CONNECTIONS} connections", run=run)
