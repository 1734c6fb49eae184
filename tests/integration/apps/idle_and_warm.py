"""Containers that are paused when idle, and containers that are started before anybody asks.

``X-Class`` and ``X-Name`` say which container gets a request; the worker answers ``/-/state`` itself.
"""

from __future__ import annotations

from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint


class Pauser(Container):
    image = "../../support/programs"
    entrypoint = ["python", "websocket_echo.py"]
    default_port = 3000
    sleep_after = 0.2
    sleep_action = "pause"


class Warm(Container):
    image = "../../support/programs"
    entrypoint = ["python", "websocket_echo.py"]
    default_port = 3000
    warm_spares = 2


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        binding = getattr(self.env, request.headers.get("X-Class", "PAUSER"))
        container: Any = binding.get_by_name(request.headers.get("X-Name", "one"))
        match request.url.path:
            case "/-/state":
                return Response.json(await container.get_state())
            case "/-/stop":
                await container.stop()
                return Response("stopping")
        response: Response = await container.fetch(request)
        return response
