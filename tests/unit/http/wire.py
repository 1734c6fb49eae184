"""A client and an upstream that speak bytes, for tests in which the bytes matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from moorings.clock import Clock, SystemClock
from moorings.http import Debug, HttpServer, Limits, Request, Response, problem_response
from moorings.http.server_connection import ServerConnection
from moorings.observer import Recorder

PATIENCE = 10.0  # seconds until a test gives up waiting for what must come


@dataclass
class Answer:
    """A response as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: bytes = b""

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        lines = raw.decode("latin-1").split("\r\n")[:-2]
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return int(lines[0].split()[1]), headers

    async def answer(self, *, method: str = "GET") -> Answer:
        """The next response; IncompleteReadError or ConnectionResetError if it is cut off."""
        async with asyncio.timeout(PATIENCE):
            status, headers = await self.head()
            answer = Answer(status, headers, b"")
            if method == "HEAD" or status in (204, 304) or status < 200:
                return answer
            if (answer.get("transfer-encoding") or "").lower() == "chunked":
                await self._chunks(answer)
            elif answer.get("content-length") is not None:
                answer.body = await self.reader.readexactly(int(answer.get("content-length") or 0))
            else:
                answer.body = await self.reader.read()
            return answer

    async def _chunks(self, answer: Answer) -> None:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        answer.body = b"".join(parts)
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            answer.trailers += line

    async def rest(self) -> bytes:
        """Everything until the connection is closed."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE)

    async def ask(self, data: bytes, *, method: str = "GET") -> Answer:
        await self.send(data)
        return await self.answer(method=method)

    def reset(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        if writer.transport.get_write_buffer_size():
            writer.transport.abort()  # closing would wait for the other side to read
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass
class Served:
    """A server under test, and what reached its handler."""

    server: HttpServer
    port: int
    recorder: Recorder
    requests: list[Request]
    errors: list[BaseException] = field(default_factory=list)

    @property
    def connections(self) -> list[ServerConnection]:
        """Those that speak HTTP/1.1."""
        return [c for c in self.server.connections if isinstance(c, ServerConnection)]


@asynccontextmanager
async def served(
    handler: Handler, *, limits: Limits | None = None, clock: Clock | None = None, trusted: tuple[str, ...] = ()
) -> AsyncIterator[Served]:
    recorder = Recorder()
    requests: list[Request] = []
    errors: list[BaseException] = []

    async def counted(request: Request) -> Response:
        requests.append(request)
        return await handler(request)

    def on_error(request: Request | None, error: BaseException) -> Response:
        errors.append(error)
        return problem_response(error, debug=Debug.OFF)

    server = HttpServer(
        counted,
        on_error=on_error,
        clock=clock or SystemClock(),
        observer=recorder,
        limits=limits or Limits(),
        trusted_proxies=trusted,
    )
    _, port = await server.listen("127.0.0.1", 0)
    try:
        yield Served(server, port, recorder, requests, errors)
    finally:
        await server.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """A scripted server; counts its connections."""

    port: int = 0
    connections: int = 0
    closed: int = 0


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    state = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            state.closed += 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 20)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for _ in range(3):
            await asyncio.sleep(0)  # connections that were just accepted reach ``accept``, and are closed there
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def request_head(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until the condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # the conditions are sizes and states, not events
            await asyncio.sleep(0.001)


def get(path: str = "/", extra: str = "", version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: example.test\r\n{extra}\r\n".encode("latin-1")
