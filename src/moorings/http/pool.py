"""ConnectionPool: the connections to one port of one host, handed over without a lock.

Idle connections are taken last in, first out. One timer looks after them while there are any; it counts in ticks, so
that handing a connection back costs no look at the clock.

The pool owns the tasks that its connections need: attempts to connect, which may outlive a caller that was cancelled,
and the sending of bodies made in Python. After ``close`` or ``abort``, ``wait_closed`` returns when they have ended.
"""

from __future__ import annotations

import asyncio
import ssl

from moorings.clock import Clock, TimerHandle
from moorings.errors import ConnectFailed
from moorings.http.client_connection import ClientConnection
from moorings.http.owned_tasks import OwnedTasks
from moorings.http.pacing import Pacing

_TICK = 1.0  # seconds


class ConnectionPool:
    """Connections to ``host:port``, over TLS where ``tls`` is given. Used from one event loop."""

    __slots__ = (
        "_aborted",
        "_attempts",
        "_closed",
        "_connections",
        "_idle",
        "_max_age",
        "_max_idle",
        "_pacing",
        "_tick",
        "_timer",
        "_uploads",
        "clock",
        "host",
        "port",
        "tls",
    )

    def __init__(
        self,
        host: str,
        port: int,
        *,
        clock: Clock,
        max_idle: int = 256,
        idle_timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.host = host
        self.port = port
        self.clock = clock
        self._max_idle = max_idle
        self._max_age = max(1, round(idle_timeout / _TICK))
        self._idle: list[ClientConnection] = []
        self._connections: set[ClientConnection] = set()
        self._pacing = Pacing(clock)
        self._attempts = OwnedTasks()
        self._uploads = OwnedTasks()
        self._tick = 0
        self._timer: TimerHandle | None = None
        self._closed = False
        self._aborted = False

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def busy(self) -> bool:
        """Whether there is anything to close or to wait for."""
        return bool(self._connections) or len(self._attempts) > 0 or len(self._uploads) > 0

    def take(self, *, fresh: bool = False) -> ClientConnection | None:
        """An idle connection, or None.

        ``fresh``: one used in the last second, for requests that can't be repeated.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            transport = connection.transport
            if transport is None or transport.is_closing():
                continue
            if fresh and self._tick != connection.idle_since:
                connection.close()
                continue
            return connection
        return None

    def connect(self) -> asyncio.Task[ClientConnection]:
        """Begin to make a new connection. ConnectFailed if it can't be made; cancelled by ``abort``."""
        return self._attempts.spawn(self._connect(), name="moorings-connect")

    async def _connect(self) -> ClientConnection:
        await self._pacing.enter()
        try:
            connection = await self._open()
        except BaseException:
            self._pacing.failed()
            raise
        self._pacing.made(connection)
        return connection

    async def _open(self) -> ClientConnection:
        if self._closed:
            raise ConnectFailed(f"the connections to {self.host}:{self.port} are closed")
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: ClientConnection(loop, self._free, self._lost, self._uploads),
                self.host,
                self.port,
                ssl=self.tls,
            )
        except OSError as error:
            raise ConnectFailed(f"no connection to {self.host}:{self.port}: {error}") from error
        if connection.transport is None:
            raise ConnectFailed(f"{self.host}:{self.port} closed the connection at once")
        self._connections.add(connection)
        if self.aborted:
            connection.drop()
            raise ConnectFailed(f"the connections to {self.host}:{self.port} were closed meanwhile")
        return connection

    def close(self) -> None:
        """Close the idle connections; those in use end with their exchange. Idempotent."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self._stop()

    def abort(self) -> None:
        """Close everything now; exchanges in progress fail with UpstreamError. Idempotent."""
        self.close()
        self._aborted = True
        self._attempts.cancel()
        for connection in list(self._connections):
            connection.abort()

    async def wait_closed(self) -> None:
        """After ``close`` or ``abort``: wait until no attempt to connect and no upload made in Python goes on."""
        await self._attempts.settle()
        await self._uploads.settle()

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called."""
        return self._aborted

    def give_back(self, connection: ClientConnection) -> None:
        """Put back a connection that was made or taken and not used."""
        self._free(connection)

    def _free(self, connection: ClientConnection) -> None:
        if self._pacing.holds:
            self._pacing.of_use(connection)
        if self._closed or len(self._idle) >= self._max_idle:
            connection.close()
            return
        connection.idle_since = self._tick
        self._idle.append(connection)
        if self._timer is None:
            self._timer = self.clock.call_later(_TICK, self._sweep)

    def _lost(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._pacing.of_use(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        self._tick += 1
        self._timer = None
        oldest = self._tick - self._max_age
        kept = []
        for connection in self._idle:
            if connection.idle_since < oldest:
                connection.close()
            else:
                kept.append(connection)
        self._idle = kept
        if kept:
            self._timer = self.clock.call_later(_TICK, self._sweep)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
