"""How much a client may ask of a connection before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one HTTP/1.1 server connection; sizes in bytes, times in seconds.

    ``head``: request line and header fields together (over it: 431).
    ``headers``: number of header fields, trailers counted on their own (over it: 431).
    ``body``: request body, None for no bound (over it: 413).
    ``header_timeout``: from the first byte of a request to the end of its head; also for the first byte on a new
    connection. ``idle_timeout``: how long a kept-alive connection may wait for its next request. ``body_timeout``:
    without a byte of an unfinished request body, and without a client taking a byte of its answer. ``unread_body``: how
    much of a body that the handler left unread is read and dropped to keep the connection. ``linger``: how long a
    connection that is closed after an error goes on reading, so that the client sees the answer (RFC 9112, 9.6).
    ``connections``: open connections of the server, None for no bound (over it: 503 and close).
    ``streams``: requests in progress on one HTTP/2 connection (over it: they are refused, RFC 9113, 5.1.2).
    """

    head: int = 64 * 1024
    headers: int = 128
    body: int | None = None
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_timeout: float = 60.0
    unread_body: int = 256 * 1024
    linger: float = 2.0
    connections: int | None = None
    streams: int = 100
