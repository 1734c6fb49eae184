"""Clients that take or give a byte a second, over HTTP/1.1 and HTTP/2, and one that asks beside them.

Each ends by itself and raises BenchError where it was not served as it should be. The slow ones run in a process of
their own (``python -m bench.harness.slow PORT SECONDS READERS WRITERS H2_CONNECTIONS H2_STREAMS``), so that the one
beside them measures the platform's delays and not theirs.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import h2.events
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from bench.harness.process import BenchError, find

SMALL_BUFFER = 4096  # bytes that the kernel may hold for a slow reader
LARGE = 1 << 26  # bytes of a body that a slow reader never sees the end of


async def dial(port: int, *, buffer: int | None = None) -> socket.socket:
    """A connection to the platform."""
    sock = socket.socket()
    sock.setblocking(False)
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def read_slowly(port: int, seconds: int) -> None:
    """Ask for a large body, and take a byte of it a second."""
    loop = asyncio.get_running_loop()
    with await dial(port, buffer=SMALL_BUFFER) as sock:
        await loop.sock_sendall(sock, b"GET /down/%d HTTP/1.1\r\nHost: a\r\n\r\n" % LARGE)
        for _ in range(seconds):
            if not await loop.sock_recv(sock, 1):
                raise BenchError("a slow reader was cut off")
            await asyncio.sleep(1)


async def write_slowly(port: int, seconds: int) -> None:
    """Send a body a byte a second, and check that all of it has arrived."""
    loop = asyncio.get_running_loop()
    with await dial(port) as sock:
        await loop.sock_sendall(sock, b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % seconds)
        for _ in range(seconds):
            await asyncio.sleep(1)
            await loop.sock_sendall(sock, b"x")
        answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 30)
        if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\n%d\n" % seconds):
            raise BenchError(f"a slow writer was answered {answer!r}")


async def read_slowly_h2(port: int, seconds: int, *, streams: int) -> None:
    """The same over HTTP/2: windows of one byte that are opened once a second."""
    loop = asyncio.get_running_loop()
    client = H2Connection()
    client.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 1})
    client.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", f"/down/{LARGE}")]
    ids = [1 + 2 * number for number in range(streams)]
    for stream in ids:
        client.send_headers(stream, fields, end_stream=True)
    received = dict.fromkeys(ids, 0)
    with await dial(port) as sock:
        await loop.sock_sendall(sock, client.data_to_send())
        end = time.monotonic() + seconds
        tick = time.monotonic() + 1
        while (now := time.monotonic()) < end:
            try:
                data = await asyncio.wait_for(loop.sock_recv(sock, 65536), max(0.01, tick - now))
            except TimeoutError:
                tick += 1
                for stream in ids:
                    if received[stream]:
                        client.increment_flow_control_window(1, stream)
            else:
                if not data:
                    raise BenchError("a slow HTTP/2 reader was cut off")
                for event in client.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        received[event.stream_id or 0] += len(event.data or b"")
                    elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        raise BenchError(f"a slow HTTP/2 reader got {event!r}")
            await loop.sock_sendall(sock, client.data_to_send())
    if min(received.values()) < seconds // 2:
        raise BenchError(f"slow HTTP/2 readers got {received}")


async def crowd(port: int, seconds: int, readers: int, writers: int, connections: int, streams: int) -> None:
    """All of them, each beginning at a moment of its own."""

    async def late(work: Awaitable[None]) -> None:
        await asyncio.sleep(random.uniform(0, 2))
        await work

    works: list[Awaitable[None]] = [read_slowly(port, seconds) for _ in range(readers)]
    works += [write_slowly(port, seconds) for _ in range(writers)]
    works += [read_slowly_h2(port, seconds, streams=streams) for _ in range(connections)]
    await asyncio.gather(*map(late, works))


async def slow_clients(port: int, seconds: int, *, readers: int, writers: int, h2: tuple[int, int], core: int) -> None:
    """Run a crowd in another process, on a core; ``h2``: connections, and streams on each. Raises BenchError."""
    numbers = [str(number) for number in (port, seconds, readers, writers, *h2)]
    command = [find("taskset"), "-c", str(core), sys.executable, "-m", "bench.harness.slow", *numbers]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise BenchError(f"slow clients were not served:\n{output.decode()[-2000:]}")


async def probe(port: int, until: Callable[[], bool]) -> list[float]:
    """Small requests, fifty a second, until told to end; their times in milliseconds."""
    loop = asyncio.get_running_loop()
    times = []
    with await dial(port) as sock:
        while not until():
            began = time.perf_counter()
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 30)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise BenchError(f"a request beside the slow ones was answered {answer!r}")
            times.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(0.02)
    return times


async def probed(port: int, work: Awaitable[object], *, probes: int = 4) -> list[float]:
    """Do ``work`` and probe meanwhile; the times of the requests beside it."""
    over = False
    probing = [asyncio.ensure_future(probe(port, lambda: over)) for _ in range(probes)]
    try:
        await work
    finally:
        over = True
        await asyncio.wait(probing)
    return [one for times in await asyncio.gather(*probing) for one in times]


if __name__ == "__main__":
    asyncio.run(crowd(*(int(word) for word in sys.argv[1:])))
