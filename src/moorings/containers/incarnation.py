"""One start of one container, from the intent to its exit."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from moorings.clock import Clock
from moorings.proxy import H2Pool, Tunnel, UpstreamPool
from moorings.runtimes.base import Exit, Running


@dataclass(frozen=True, slots=True)
class Probing:
    """A probe that is under way. ``until`` is in seconds of the monotonic clock."""

    task: asyncio.Task[None]
    until: float


class Incarnation:
    """What is known of one start. ``spawned`` and ``exited`` are the two moments others wait for."""

    __slots__ = (
        "_parted",
        "exited",
        "frozen",
        "h2_pools",
        "kill_at",
        "last_words",
        "on_start",
        "open_ports",
        "pools",
        "probes",
        "running",
        "signalled",
        "signals_sent",
        "spawned",
        "start_error",
        "started",
        "stopping",
        "token",
        "tunnels",
        "was_ready",
    )

    def __init__(self, token: str | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.token = token or secrets.token_hex(16)
        self.running: Running | None = None
        self.spawned: asyncio.Future[bool] = loop.create_future()
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self.signalled: asyncio.Future[None] = loop.create_future()
        self.last_words: asyncio.Task[tuple[str, ...]] | None = None
        self.start_error: Exception | None = None
        """What ``on_start`` raised."""
        self.on_start: asyncio.Task[Any] | None = None
        self.open_ports: set[int] = set()
        self.probes: dict[int, Probing] = {}
        self.pools: dict[int, UpstreamPool] = {}
        self.h2_pools: dict[int, H2Pool] = {}
        self.tunnels: set[Tunnel] = set()
        self.signals_sent: set[int] = set()
        self.stopping = False
        self.was_ready = False
        """Whether the ports that are awaited by default have accepted, in this life of the platform or before."""
        self.frozen = False
        """Whether the runtime was asked to freeze it, and has not thawed it since."""
        self._parted: asyncio.Future[None] | None = None
        self.started = False
        """Whether ``on_start`` has run."""
        self.kill_at: float | None = None
        """When SIGKILL follows the signal that was sent, in Unix seconds."""

    def pool(self, port: int, clock: Clock) -> UpstreamPool:
        """The connections to one declared port; its program must exist."""
        pool = self.pools.get(port)
        if pool is None:
            assert self.running is not None
            address = self.running.addresses[port]
            pool = self.pools[port] = UpstreamPool(address.host, address.port, clock=clock)
        return pool

    def h2_pool(self, port: int, clock: Clock) -> H2Pool:
        """The same for HTTP/2."""
        pool = self.h2_pools.get(port)
        if pool is None:
            assert self.running is not None
            address = self.running.addresses[port]
            pool = self.h2_pools[port] = H2Pool(address.host, address.port, clock=clock)
        return pool

    def tunnel_ended(self, tunnel: Tunnel) -> None:
        """One of ``tunnels`` is over."""
        self.tunnels.discard(tunnel)
        if not self.tunnels and self._parted is not None and not self._parted.done():
            self._parted.set_result(None)

    def parted(self) -> asyncio.Future[None]:
        """Done when none of ``tunnels`` is left."""
        if self._parted is None or self._parted.done():
            self._parted = self.exited.get_loop().create_future()
            if not self.tunnels:
                self._parted.set_result(None)
        return self._parted

    def _pools(self) -> list[UpstreamPool | H2Pool]:
        return [*self.pools.values(), *self.h2_pools.values()]

    def close_connections(self) -> None:
        """Close the idle connections into the container, so that it can end; exchanges under way go on."""
        for pool in self._pools():
            pool.close()

    def end_connections(self) -> None:
        """The container is gone: break exchanges off, and let tunnels end with what was sent through them last."""
        for pool in self._pools():
            pool.abort()
        for tunnel in list(self.tunnels):
            tunnel.container_ended()

    def abort_connections(self) -> None:
        """Break every connection into the container, tunnels included: the platform goes."""
        for pool in self._pools():
            pool.abort()
        for tunnel in list(self.tunnels):
            tunnel.abort()

    async def connections_closed(self) -> None:
        """After ``end_connections`` or ``abort_connections``: wait until nothing is sent or connected any more."""
        for pool in self._pools():
            await pool.wait_closed()
