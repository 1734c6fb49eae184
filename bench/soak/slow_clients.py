"""A thousand clients that take or give a byte a second, and bodies of a GiB: bounded memory, and nobody else waits."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from bench.harness.case import Bench, Case
from bench.harness.figures import Direction, Figure, Result, Row, Verdict
from bench.harness.growth import Watch
from bench.harness.process import BenchError
from bench.harness.slow import dial, probed, slow_clients

READERS = 450
H2_CONNECTIONS, H2_STREAMS = 10, 5  # slow readers over HTTP/2
WRITERS = 500
SECONDS = 60
GIB = 1 << 30
BOUND_MIB = 64.0
SAMPLE_EVERY = 0.5  # seconds


def run(bench: Bench) -> Result:
    watch = Watch(bench, "bodies", bound=BOUND_MIB)
    with watch as platform:
        port = urlsplit(platform.url).port or 0
        times = asyncio.run(soak(bench, watch, port))
    result = watch.result()
    rows = tuple(Row(name, {"p50": quantile(of, 0.5), "p99": quantile(of, 0.99)}) for name, of in times.items())
    alone, beside = (quantile(times[name], 0.99).median for name in ("requests alone", "beside slow clients"))
    delayed = Verdict("p99 beside slow clients, less that alone", beside - alone, "ms", Direction.AT_MOST, 50.0)
    return Result((*result.rows, *rows), (*result.verdicts, delayed), result.remarks)


async def soak(bench: Bench, watch: Watch, port: int) -> dict[str, list[float]]:
    """All of it; the times of small requests meanwhile."""
    await asyncio.gather(move(port, "up", 1 << 26), move(port, "down", 1 << 26))  # warm-up
    times = {"requests alone": await probed(port, asyncio.sleep(10))}
    watch.sample()
    sampling = asyncio.ensure_future(sample(watch))
    try:
        crowd = slow_clients(
            port,
            SECONDS,
            readers=READERS,
            writers=WRITERS,
            h2=(H2_CONNECTIONS, H2_STREAMS),
            core=bench.site.cores.load,
        )
        bench.progress(f"{READERS + H2_CONNECTIONS * H2_STREAMS + WRITERS} slow clients for {SECONDS} s")
        times["beside slow clients"] = await probed(port, crowd)
        for direction in ("down", "up"):
            bench.progress(f"1 GiB {direction}")
            times[f"beside 1 GiB {direction}"] = await probed(port, move(port, direction, GIB))
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    watch.sample()
    return times


async def move(port: int, direction: str, size: int) -> None:
    """One body of that size. Raises BenchError where it isn't whole."""
    loop = asyncio.get_running_loop()
    with await dial(port) as sock:
        if direction == "up":
            await loop.sock_sendall(sock, b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            chunk = bytes(1 << 18)
            for _ in range(size // len(chunk)):
                await loop.sock_sendall(sock, chunk)
                await asyncio.sleep(0)  # what is ready at once doesn't let others run
            answer = await loop.sock_recv(sock, 4096)
            if not answer.endswith(b"\n%d\n" % size):
                raise BenchError(f"a body of {size} bytes was answered {answer!r}")
            return
        await loop.sock_sendall(sock, b"GET /down/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % size)
        buffer = bytearray(1 << 18)
        got = 0
        while n := await loop.sock_recv_into(sock, buffer):
            got += n
            await asyncio.sleep(0)
        if got < size:
            raise BenchError(f"of a body of {size} bytes {got} came")


async def sample(watch: Watch) -> None:
    while True:
        watch.sample()
        await asyncio.sleep(SAMPLE_EVERY)


def quantile(times: list[float], part: float) -> Figure:
    return Figure.of([sorted(times)[int(len(times) * part)]], "ms")


CASE = Case(title=f"1,000 slow clients for {SECONDS} s, 1 GiB each way", run=run)
