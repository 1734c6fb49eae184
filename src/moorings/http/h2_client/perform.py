"""perform: one exchange on an H2Pool, from finding a connection to the head of the answer.

What a server says it has not looked at (REFUSED_STREAM, GOAWAY) is sent again, whatever the method, as long as all of
the body that was sent is still at hand. A connection that turns out dead is replaced once, for safe methods.
"""

from __future__ import annotations

import asyncio

from moorings.errors import ClientDisconnected, ConnectFailed, UpstreamError
from moorings.http.client_connection import Dropped, Exchange
from moorings.http.h2_client.connection import H2ClientConnection
from moorings.http.h2_client.heads import Fields
from moorings.http.h2_client.pool import H2Pool
from moorings.http.h2_client.stream import Refused
from moorings.http.h2_client.upload import Upload
from moorings.http.response import Response

_ATTEMPTS = 4


async def perform(
    exchange: Exchange, pool: H2Pool, fields: Fields, upload: Upload | None, *, safe: bool, connect_timeout: float
) -> Response:
    """Send a request and return the answer, its body still streaming.

    Raises UpstreamError (ConnectFailed where nothing was sent), ClientDisconnected, and what broke the body off. The
    caller ends the exchange when this raises.
    """
    attempts = 0
    while True:
        connection = pool.take()
        repeatable = connection is not None and safe
        while connection is None:
            try:
                await _connected(exchange, pool, connect_timeout)
            except ConnectFailed as error:
                if attempts:  # a body may have been begun
                    raise UpstreamError(str(error)) from error
                raise
            connection = pool.take()
        attempts += 1
        future: asyncio.Future[Response] = connection.loop.create_future()
        exchange.future = future
        connection.start(exchange, fields, upload)
        try:
            return await future
        except Dropped as error:
            again = attempts < _ATTEMPTS and (upload is None or upload.replayable)
            if not again or not (isinstance(error, Refused) or (repeatable and attempts == 1)):
                raise


async def _connected(exchange: Exchange, pool: H2Pool, timeout: float) -> None:
    """Wait for a new connection; the wait ends early when the client goes or the time is up, the attempt goes on."""
    attempt = pool.connect()
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    attempt.add_done_callback(end)
    forget = exchange.signal.add_listener(end)
    timer = pool.clock.call_later(timeout, end)
    try:
        await over
    finally:
        timer.cancel()
        forget()
        attempt.remove_done_callback(end)
    if _gone(exchange):
        raise ClientDisconnected("the client went away")
    if not attempt.done():
        raise ConnectFailed(f"no connection to {pool.host}:{pool.port} within {timeout} s")
    if attempt.cancelled():
        raise ConnectFailed(f"the connections to {pool.host}:{pool.port} were closed meanwhile")
    _accepts_streams(attempt.result(), pool)


def _accepts_streams(connection: H2ClientConnection, pool: H2Pool) -> None:
    if connection.limit < 1:
        raise UpstreamError(f"{pool.host}:{pool.port} accepts no HTTP/2 streams")


def _gone(exchange: Exchange) -> bool:
    return exchange.signal.aborted
