"""``ctx.container``: the container without the conveniences of the Container class."""

from __future__ import annotations

import asyncio
from typing import Any

from yarl import URL

from moorings.containers.controller import Controller
from moorings.containers.lifecycle import UP
from moorings.containers.traffic import send
from moorings.errors import ContainerNotRunning
from moorings.http import Request, Response
from moorings.objects.requests import request_for
from moorings.runtimes.base import Exit


class TcpPort:
    """One port of a running container (Cloudflare: ``ctx.container.getTcpPort``)."""

    __slots__ = ("_controller", "port")

    def __init__(self, controller: Controller, port: int) -> None:
        self._controller = controller
        self.port = port

    async def fetch(self, request: Request | str | URL, **options: Any) -> Response:
        """Send an HTTP request to the port; a relative URL is resolved against ``http://container``."""
        return await send(self._controller, request_for(request, **options), self.port)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to the port. Raises ContainerNotRunning, and ConnectionError where nothing accepts."""
        incarnation = self._controller.incarnation
        if incarnation is not None:
            await self._controller.pausing.thaw(incarnation)
        if incarnation is None or incarnation.running is None:
            raise ContainerNotRunning(f"{self._controller.subject.label} isn't running")
        address = incarnation.running.addresses[self.port]
        return await asyncio.open_connection(address.host, address.port)


class ContainerHandle:
    """What an object may do with its container directly."""

    __slots__ = ("controller",)

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    @property
    def running(self) -> bool:
        """Whether the container's program exists."""
        return self.controller.status in UP

    async def start(self) -> None:
        """Start the container; returns when its program exists."""
        await self.controller.start()

    async def monitor(self) -> Exit:
        """Wait for the running container's end. Raises ContainerNotRunning where there is none."""
        incarnation = self.controller.incarnation
        if incarnation is None:
            raise ContainerNotRunning(f"{self.controller.subject.label} isn't running")
        return await asyncio.shield(incarnation.exited)

    async def signal(self, signum: int | str) -> None:
        """Send a signal to the container. Raises ContainerNotRunning."""
        await self.controller.signal(signum)

    async def destroy(self) -> None:
        """SIGKILL now; returns when the container has ended."""
        await self.controller.destroy()

    def get_tcp_port(self, port: int) -> TcpPort:
        """One of the container's declared ports. Raises ConfigError for another."""
        self.controller.check_declared(port)
        return TcpPort(self.controller, port)
