"""perform: one exchange on a pool, from finding a connection to the head of the answer.

A pooled connection may have been closed by the other side a moment ago. It is replaced once: for safe methods while no
byte of the answer has come; for others nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio

from moorings.errors import ClientDisconnected, ConnectFailed
from moorings.http.client_connection import ClientConnection, Dropped, Exchange, RequestBody
from moorings.http.pool import ConnectionPool
from moorings.http.response import Response

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


async def perform(
    exchange: Exchange,
    pool: ConnectionPool,
    head: bytes,
    body: RequestBody,
    length: int,
    safe: bool,
    connect_timeout: float,
) -> Response:
    """Send ``head`` and ``body`` and return the answer, its body still streaming.

    Raises UpstreamError (ConnectFailed where nothing was sent), ClientDisconnected, and what broke the body off. The
    caller ends the exchange when this raises.
    """
    connection = pool.take(fresh=not safe)
    repeatable = connection is not None and safe and (body is None or isinstance(body, bytes))
    if connection is None:
        connection = await _connect(exchange, pool, connect_timeout)
    while True:
        future: asyncio.Future[Response] = connection.loop.create_future()
        exchange.future = future
        connection.start(exchange, head, body, length)
        try:
            return await future
        except Dropped:
            if not repeatable:
                raise
            repeatable = False
            connection = await _connect(exchange, pool, connect_timeout)


async def _connect(exchange: Exchange, pool: ConnectionPool, timeout: float) -> ClientConnection:
    """A new connection; the attempt ends early when the client goes or the time is up."""
    if _client_gone(exchange):
        raise ClientDisconnected("the client went away")
    attempt = pool.connect()
    forget = exchange.signal.add_listener(attempt.cancel)
    timer = pool.clock.call_later(timeout, attempt.cancel)
    try:
        await asyncio.wait((attempt,))
    except asyncio.CancelledError:  # of this task; the attempt's own doesn't come out of wait
        attempt.cancel()
        attempt.add_done_callback(lambda done: _give_back(done, pool))
        raise
    finally:
        timer.cancel()
        forget()
    if _client_gone(exchange):
        _give_back(attempt, pool)
        raise ClientDisconnected("the client went away")
    if attempt.cancelled():
        if pool.aborted:
            raise ConnectFailed(f"the connections to {pool.host}:{pool.port} were closed meanwhile")
        raise ConnectFailed(f"no connection to {pool.host}:{pool.port} within {timeout} s")
    return attempt.result()


def _client_gone(exchange: Exchange) -> bool:
    return exchange.signal.aborted


def _give_back(attempt: asyncio.Task[ClientConnection], pool: ConnectionPool) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        pool.give_back(attempt.result())
