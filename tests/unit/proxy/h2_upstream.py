"""An HTTP/2 server that does what a script says, for tests in which frames matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from hyperframe.frame import GoAwayFrame

from moorings.clock import SystemClock
from moorings.http import Request
from moorings.http.h2_client.pool import H2Pool
from moorings.http.response import Response
from moorings.proxy import forward_h2

E = TypeVar("E", bound=Event)
Script = Callable[["Peer"], Awaitable[None]]
PATIENCE = 10.0
OK = [(":status", "200")]


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number  # of the connection, from 1
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._events: list[Event] = []

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def next(self, kind: type[E]) -> E:
        """The next event of a kind; those before it are passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._events:
                    event = self._events.pop(0)
                    if isinstance(event, kind):
                        return event
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self._events += self.h2.receive_data(data)
                self.flush()

    def answer(self, stream: int, body: bytes = b"ok", *, headers: list[tuple[str, str]] | None = None) -> None:
        self.h2.send_headers(stream, headers or OK, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    def go_away(self, last: int, code: int = 0) -> None:
        """GOAWAY, after which this side goes on with the streams that it has accepted."""
        frame = GoAwayFrame(0)
        frame.last_stream_id = last
        frame.error_code = code
        self.writer.write(frame.serialize())


@dataclass
class Behind:
    """A pool to a scripted server, and how many exchanges on it have ended."""

    pool: H2Pool
    ends: list[int] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    async def send(self, request: Request) -> Response:
        async with asyncio.timeout(PATIENCE):
            return await forward_h2(request, self.pool, on_end=lambda: self.ends.append(1))


@asynccontextmanager
async def behind(script: Script, *, settings: dict[int, int] | None = None) -> AsyncIterator[Behind]:
    """Run ``script`` for each connection."""
    number = 0
    tasks: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        tasks.append(asyncio.current_task())
        peer = Peer(reader, writer, number)
        if settings is not None:
            peer.h2.local_settings.update(settings)
            peer.h2.local_settings.acknowledge()
        peer.h2.initiate_connection()
        peer.flush()
        try:
            await script(peer)
            await reader.read()
        except (EOFError, ConnectionError):
            pass
        except Exception as error:
            b.errors.append(error)
            raise
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = H2Pool("127.0.0.1", server.sockets[0].getsockname()[1], clock=SystemClock())
    b = Behind(pool)
    try:
        yield b
    finally:
        pool.abort()
        await pool.wait_closed()
        server.close()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
    assert not b.errors
