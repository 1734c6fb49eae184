"""Where the platform can be killed in a start and a stop on Docker, beside the points that every runtime has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

START_POINTS = (
    "docker-before-network",
    "docker-network-made",
    "docker-before-create",
    "docker-create-sent",
    "docker-created",
    "docker-before-run",
    "docker-run-sent",
    "docker-ran",
    "docker-inspected",
)
"""In the order of a start. ``sent`` is before the Engine's answer."""

STOP_POINTS = ("docker-signal-sent", "docker-before-forget", "docker-log-kept", "docker-removed")
"""In the order of a stop."""

TELLING = (
    "docker-create-sent",
    "docker-created",
    "docker-run-sent",
    "docker-ran",
    "docker-signal-sent",
    "docker-log-kept",
)
"""Those between which the Engine has something that no record tells of."""

_SENT = {
    "docker-create-sent": "/containers/create",
    "docker-run-sent": "/start",
    "docker-signal-sent": "/kill",
}


def die_at(point: str, die: Callable[[], None]) -> None:
    """Call ``die`` at a point. Raises ValueError for one that isn't there."""
    from aiodocker.containers import DockerContainer

    from moorings.runtimes.docker.engine import Engine
    from moorings.runtimes.docker.logs import KeptLogs
    from moorings.runtimes.docker.networks import Networks
    from moorings.runtimes.docker.runtime import DockerRuntime

    match point:
        case "docker-before-network":
            _before(Networks, "ensure", die)
        case "docker-network-made":
            _after(Networks, "ensure", die)
        case "docker-before-create":
            _before(Engine, "create", die)
        case "docker-created":
            _after(Engine, "create", die)
        case "docker-before-run":
            _before(DockerContainer, "start", die)
        case "docker-ran":
            _after(DockerContainer, "start", die)
        case "docker-inspected":
            _after(Engine, "inspect", die)
        case "docker-before-forget":
            _before(DockerRuntime, "forget", die)
        case "docker-log-kept":
            _after(KeptLogs, "write", die)
        case "docker-removed":
            _after(Engine, "remove", die)
        case _:
            _when_sent(_SENT[point], die)


def _before(owner: Any, name: str, die: Callable[[], None]) -> None:
    async def patched(*_: Any, **__: Any) -> None:
        die()

    setattr(owner, name, patched)


def _after(owner: Any, name: str, die: Callable[[], None]) -> None:
    original = getattr(owner, name)

    def then(*arguments: Any, **options: Any) -> Any:
        done = original(*arguments, **options)
        if not inspect.isawaitable(done):
            die()

        async def awaited() -> None:
            await done
            die()

        return awaited()

    setattr(owner, name, then)


def _when_sent(path: str, die: Callable[[], None]) -> None:
    """When a request to the Engine has been written, and not been answered yet."""
    import aiohttp

    class Watched(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            if self.method == "POST" and self.url.path.endswith(path):
                if self._writer is not None:  # it writes the body
                    await self._writer
                die()
            return await super().start(connection)

    original = aiohttp.ClientSession.__init__

    def patched(self: aiohttp.ClientSession, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{**options, "response_class": Watched})

    aiohttp.ClientSession.__init__ = patched  # type: ignore[method-assign]
