"""H2Pool: the HTTP/2 connections to one port of one host.

Exchanges share connections; another one is made when all carry as many streams as they may. Attempts to connect are
shared as well: a crowd that finds no room waits for one of them.
"""

from __future__ import annotations

import asyncio

from moorings.clock import Clock, TimerHandle
from moorings.errors import ConnectFailed
from moorings.http.h2_client.connection import H2ClientConnection
from moorings.http.owned_tasks import OwnedTasks

CONNECT_TIMEOUT = 5.0  # seconds until the server's SETTINGS are there


class H2Pool:
    """Connections to ``host:port``. Used from one event loop. ``close`` and ``abort`` are those of ConnectionPool."""

    __slots__ = (
        "_aborted",
        "_attempt",
        "_attempts",
        "_closed",
        "_connections",
        "_idle_timeout",
        "_timer",
        "clock",
        "host",
        "port",
        "uploads",
    )

    def __init__(self, host: str, port: int, *, clock: Clock, idle_timeout: float = 30.0) -> None:
        self.host = host
        self.port = port
        self.clock = clock
        self.uploads = OwnedTasks()
        self._idle_timeout = idle_timeout
        self._connections: dict[H2ClientConnection, None] = {}
        self._attempt: asyncio.Task[H2ClientConnection] | None = None
        self._attempts = OwnedTasks()
        self._timer: TimerHandle | None = None
        self._closed = False
        self._aborted = False

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called."""
        return self._aborted

    def take(self) -> H2ClientConnection | None:
        """A connection that can carry one more exchange, or None; the oldest first, so that few are in use."""
        for connection in self._connections:
            if connection.usable and connection.ready.done():
                return connection
        return None

    def connect(self) -> asyncio.Task[H2ClientConnection]:
        """The attempt to make a connection that is under way, or a new one; it may be somebody else's as well.

        It raises ConnectFailed, and UpstreamError where no HTTP/2 is spoken there.
        """
        attempt = self._attempt
        if attempt is None or attempt.done():
            attempt = self._attempt = self._attempts.spawn(self._connect(), name="moorings-connect-h2")
        return attempt

    async def _connect(self) -> H2ClientConnection:
        if self._closed:
            raise ConnectFailed(f"the connections to {self.host}:{self.port} are closed")
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: H2ClientConnection(loop, self._free, self._lost), self.host, self.port
            )
        except OSError as error:
            raise ConnectFailed(f"no connection to {self.host}:{self.port}: {error}") from error
        self._connections[connection] = None
        timer = self.clock.call_later(CONNECT_TIMEOUT, connection.abort)
        try:
            await connection.ready
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            timer.cancel()
        if self._is_closed():
            connection.close()
            raise ConnectFailed(f"the connections to {self.host}:{self.port} were closed meanwhile")
        return connection

    def close(self) -> None:
        """Let every connection end with its last exchange, those without any now. Idempotent."""
        self._closed = True
        for connection in list(self._connections):
            connection.close()
        self._stop()

    def abort(self) -> None:
        """Close everything now; exchanges in progress fail with UpstreamError. Idempotent."""
        self._closed = self._aborted = True
        self._stop()
        self._attempts.cancel()
        for connection in list(self._connections):
            connection.abort()

    async def wait_closed(self) -> None:
        """After ``close`` or ``abort``: wait until no attempt to connect and no upload made in Python goes on."""
        await self._attempts.settle()
        await self.uploads.settle()

    def _is_closed(self) -> bool:
        return self._closed

    def _free(self, connection: H2ClientConnection) -> None:
        if connection.streams:
            return
        connection.idle_since = self.clock.monotonic()
        if self._timer is None and not self._closed:
            self._timer = self.clock.call_later(self._idle_timeout, self._sweep)

    def _lost(self, connection: H2ClientConnection) -> None:
        self._connections.pop(connection, None)

    def _sweep(self) -> None:
        self._timer = None
        oldest = self.clock.monotonic() - self._idle_timeout
        left = 0.0
        for connection in list(self._connections):
            if connection.streams:
                continue
            if connection.idle_since <= oldest:
                connection.close()
            else:
                left = max(left, connection.idle_since - oldest)
        if left and not self._closed:
            self._timer = self.clock.call_later(left, self._sweep)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
