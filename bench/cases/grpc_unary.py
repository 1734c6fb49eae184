"""Unary gRPC calls: HTTP/2 on both sides, beside nginx' grpc_pass.

The load is h2load; nghttpd answers, which is ten times as fast as what is measured. h2load doesn't look at trailers, so
one call by grpcio says beforehand whether the answers are good.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from bench.harness.case import Bench, Case
from bench.harness.contestants import BENCH, PLATFORM, REFERENCE, Contestant, start_platform, start_proxy
from bench.harness.figures import Result
from bench.harness.load import Seen, run_program
from bench.harness.process import BenchError, Process, find, free_port
from bench.harness.throughput import disturbance, interleave, tabulate

PATH = "/bench.Calls/Empty.grpc"
CONNECTIONS = 8
STREAMS = 8
_COUNTS = re.compile(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored")


def run(bench: Bench) -> Result:
    message = bench.site.folder / "message"
    message.write_bytes(bytes(5))  # not compressed, of length 0
    log = bench.site.folder / "h2load.log"

    def drive(url: str, seconds: float, core: int) -> Seen:
        log.unlink(missing_ok=True)
        arguments = ["-D", f"{seconds:g}", "-c", str(CONNECTIONS), "-m", str(STREAMS), "-d", str(message)]
        arguments += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}"]
        output = run_program(find("h2load"), [*arguments, url + PATH], seconds=seconds, core=core)
        counts = _COUNTS.search(output)
        if counts is None:
            raise BenchError(f"h2load failed:\n{output}")
        return seen(log, seconds, errors=int(counts[3]) + int(counts[4]))

    with contestants(bench) as running:
        for contestant in running:
            check(contestant)
        rounds = interleave(bench, running, drive)
    return Result(tabulate(rounds, as_bytes=False, unit="call"), (), disturbance(rounds))


def seen(log: Path, seconds: float, *, errors: int) -> Seen:
    """What h2load has written of each call: when it began, its status, and its microseconds."""
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(row[2]) / 1000 for row in rows)
    errors += sum(row[1] != "200" for row in rows)
    if not times:
        raise BenchError("h2load got no answer")
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    return Seen(seconds, len(times), 0, errors, p50, p99, times[-1])


def check(contestant: Contestant) -> None:
    """One call, which must succeed. Raises BenchError."""
    with grpc.insecure_channel(urlsplit(contestant.url).netloc) as channel:
        try:
            channel.unary_unary(PATH)(b"", timeout=30)
        except grpc.RpcError as error:
            raise BenchError(
                f"{contestant.name} gave no good answer: {error}\n{contestant.process.last_words()}"
            ) from error


@contextmanager
def contestants(bench: Bench) -> Iterator[list[Contestant]]:
    """nginx and the platform, running until the block ends."""
    site = bench.site
    os.environ["BENCH_NGHTTPD"] = find("nghttpd")
    port = free_port()
    command = [sys.executable, str(BENCH / "programs" / "grpc_upstream.py"), find("nghttpd"), str(port)]
    upstream = Process(
        "upstream",
        command,
        core=site.cores.load,
        log=site.folder / "grpc-upstream.log",
        env={"TMPDIR": str(site.folder)},
    )
    running: list[Contestant] = []
    try:
        upstream.wait_for_port(port)
        for name in bench.effort.contestants:
            if name == REFERENCE:
                running.append(start_proxy(site, name, port, template="nginx-grpc.conf"))
            elif name == PLATFORM:
                running.append(start_platform(site, "grpc_calls"))
        yield running
    finally:
        for contestant in running:
            contestant.stop()
        upstream.stop()


CASE = Case(title=f"gRPC unary calls, {CONNECTIONS} connections, {STREAMS} streams on each", run=run)
