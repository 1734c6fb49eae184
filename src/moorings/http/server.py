"""HttpServer: listens, owns the connections and the handlers' tasks, drains and closes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl as tls
from collections.abc import Callable, Coroutine, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from moorings.clock import Clock
from moorings.http.limits import Limits
from moorings.http.request import Request
from moorings.http.response import Response
from moorings.http.server_connection import ServerConnection
from moorings.observer import ErrorReported, Observer

if TYPE_CHECKING:
    from moorings.http.h2_connection import H2ServerConnection

_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # seconds, seconds, and how many

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
OnError = Callable[[Request | None, BaseException], Response]


class HttpServer:
    """An HTTP/1.1 and HTTP/2 server (RFC 9110, RFC 9112, RFC 9113).

    ``handler`` runs in one task per request and is never cancelled because its client went away: ``request.signal`` is
    set instead, and its late response is dropped. ``on_error`` makes the response for an exception of the handler, and
    for a malformed request (then without a request). Clients whose address is in ``trusted_proxies`` (CIDRs) may give
    X-Forwarded-* fields.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        on_error: OnError,
        clock: Clock,
        observer: Observer,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        trusted_proxies: Iterable[str] = (),
    ) -> None:
        self.handler = handler
        self.on_error = on_error
        self.limits = limits
        self.clock = clock
        self.draining = False
        self.closed = False
        self.connections: set[ServerConnection | H2ServerConnection] = set()
        self.orphans: set[asyncio.Task[None]] = set()  # handlers whose connection has gone
        self._told: set[ServerConnection | H2ServerConnection] = set()  # upgraded connections that were asked to end
        self._observer = observer
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted_proxies)
        self._listeners: list[asyncio.Server] = []
        self._idle: asyncio.Future[None] | None = None
        self._date = b""
        self._date_second = -1

    async def listen(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, backlog: int = 1024
    ) -> tuple[str, int]:
        """Accept connections on an address; returns it, with the port that was chosen for port 0.

        With ``ssl`` they are TLS, and its ALPN tells HTTP/2 from HTTP/1.1. OSError if the address is taken.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: ServerConnection(self, loop),
            host,
            port,
            backlog=backlog,
            ssl=ssl,
            ssl_handshake_timeout=None if ssl is None else self.limits.header_timeout,
            ssl_shutdown_timeout=None if ssl is None else self.limits.linger,
        )
        for listening in server.sockets:
            _keep_alive(listening)
        self._listeners.append(server)
        address = server.sockets[0].getsockname()
        return address[0], address[1]

    async def listen_on(self, listening: socket.socket) -> None:
        """Accept connections on a Unix socket that listens already; it is closed with the server."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_unix_server(lambda: ServerConnection(self, loop), sock=listening))

    @property
    def in_flight(self) -> int:
        """Requests whose answer isn't complete, and handlers that still run although their client has gone."""
        return sum(connection.busy for connection in self.connections) + len(self.orphans)

    async def drain(self, timeout: float) -> None:
        """Stop accepting, close idle connections, and wait up to ``timeout`` seconds for the requests in flight."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        if self.in_flight == 0:
            return
        idle = self._idle = asyncio.get_running_loop().create_future()
        timer = self.clock.call_later(timeout, self._set_idle)
        try:
            await idle
        finally:
            timer.cancel()
            self._idle = None

    async def end_upgraded(self, timeout: float) -> None:
        """Ask upgraded connections to end (WebSockets: a close frame with 1001), and wait up to ``timeout`` seconds.

        Those that were asked before aren't asked, nor waited for, again.
        """
        left = [c for c in self.connections if c.upgraded is not None and c not in self._told]
        if not left:
            return
        self._told.update(left)
        gone = asyncio.gather(*(asyncio.shield(connection.gone()) for connection in left))
        for connection in left:
            if connection.upgraded is not None:
                connection.upgraded.go_away()
        timer = self.clock.call_later(timeout, gone.cancel)
        try:
            await asyncio.gather(gone, return_exceptions=True)
        finally:
            timer.cancel()

    async def close(self) -> None:
        """Abort every connection, cancel every handler, and wait until all have ended. Idempotent."""
        self.draining = True
        self.closed = True
        for listener in self._listeners:
            listener.close()
        tasks = list(self.orphans)
        gone = []
        for connection in list(self.connections):
            tasks += connection.tasks
            gone.append(connection.gone())
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *gone, return_exceptions=True)
        for listener in self._listeners:
            await listener.wait_closed()
        self._listeners.clear()

    # --- for the connections

    def request_ended(self) -> None:
        """A request has ended; called only while draining."""
        if self._idle is not None and self.in_flight == 0:
            self._set_idle()

    def error_response(self, request: Request | None, error: BaseException) -> Response:
        """The answer for an error."""
        try:
            return self.on_error(request, error)
        except Exception as failure:  # noqa: BLE001  # the last resort must answer
            self.report("the error handler", failure)
            return Response(status=500)

    def report(self, where: str, error: BaseException) -> None:
        """Tell of an error that no client is left to see."""
        self._observer.notify(ErrorReported(where, error))

    def trusts(self, host: str) -> bool:
        """Whether a peer may say on whose behalf it sends requests."""
        if not self._trusted:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._trusted)

    def date_line(self) -> bytes:
        """The Date field of answers made here (RFC 9110, 6.6.1)."""
        now = int(self.clock.time())
        if now != self._date_second:
            self._date_second = now
            self._date = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()
        return self._date

    def _set_idle(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def _keep_alive(listening: socket.socket) -> None:
    """Have the kernel look after silent clients: one that has vanished would hold its WebSocket or stream forever."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted connections take it over
    for name, value in _PROBES.items():
        option = getattr(socket, name, None)
        if option is not None:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)
