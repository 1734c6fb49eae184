"""switch: a request that asks for an upgrade, to a container's port; what it answers becomes the client's answer.

The handshake is forwarded with the Connection and Upgrade fields of this hop. A 101 makes a tunnel; any other answer is
one like others, on a connection that is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moorings.errors import ClientDisconnected
from moorings.http.client_connection import ClientConnection, Exchange
from moorings.http.perform import SAFE, perform
from moorings.http.request import Request
from moorings.http.response import Response
from moorings.http.response_head import ResponseHead
from moorings.http.signal import AbortSignal
from moorings.http.upgrade import UpgradeResponse
from moorings.proxy.forward import outgoing
from moorings.proxy.pool import UpstreamPool
from moorings.proxy.tunnel import Tunnel

OpenTunnel = Callable[[str, asyncio.Transport, bytes], Tunnel]
"""Makes the tunnel: protocol as the container named it, the transport into it, what was read behind its 101."""


class _Handshake(Exchange):
    """An exchange whose answer may be a 101."""

    __slots__ = ("_open",)

    def __init__(
        self, on_end: Callable[[], object] | None, signal: AbortSignal, open_tunnel: OpenTunnel, *, head_request: bool
    ) -> None:
        super().__init__(on_end, signal, head_request=head_request)
        self._open = open_tunnel

    def switched(self, connection: ClientConnection, head: ResponseHead, rest: bytes) -> bool:
        """See Exchange."""
        protocol = head.fields.first("upgrade")
        future, self.future = self.future, None
        if not protocol or future is None or future.done():
            self.future = future
            return False
        transport = connection.release()
        self.connection = None
        if transport is None:
            return False
        response = UpgradeResponse(protocol, self._open(protocol, transport, rest), head=head)
        self.end()
        future.set_result(response)
        return True


async def switch(
    request: Request,
    pool: UpstreamPool,
    open_tunnel: OpenTunnel,
    *,
    on_end: Callable[[], object] | None = None,
    connect_timeout: float = 5.0,
) -> Response:
    """Send a request that asks to switch protocols; returns an UpgradeResponse where the container does.

    ``on_end`` is called exactly once, when the exchange is over: after a 101, at once. Raises what ``forward`` does.
    """
    exchange = _Handshake(on_end, request.signal, open_tunnel, head_request=request.method == "HEAD")
    try:
        if exchange.signal.aborted:
            raise ClientDisconnected("the client went away")
        head, body, length = outgoing(request, pool)
        return await perform(exchange, pool, head, body, length, request.method in SAFE, connect_timeout)
    except BaseException as error:
        exchange.abort(error)
        raise
