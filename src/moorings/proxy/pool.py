"""UpstreamPool: the connections to one port of one container."""

from __future__ import annotations

from moorings.http.pool import ConnectionPool


class UpstreamPool(ConnectionPool):
    """Connections to a container's port: ``UpstreamPool(host, port, clock=, max_idle=256, idle_timeout=30.0)``.

    ``close()`` closes the idle ones and lets those in use end; ``abort()`` closes everything now. Both are idempotent.
    After either, ``await wait_closed()`` returns when no task of the pool runs any more.
    """

    __slots__ = ()
