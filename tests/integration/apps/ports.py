"""One container with three ports, chosen by path, as in examples/multi_port; requests interleave before forwarding."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint, switch_port

PROGRAM = Path(__file__).parents[2] / "support" / "programs" / "many_routes.py"


class MultiPort(Container):
    entrypoint = [sys.executable, str(PROGRAM)]
    default_port = 8080
    required_ports = [8080, 8081, 9090]

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.crowd: asyncio.Barrier | None = None

    async def fetch(self, request: Request) -> Response:
        path = request.url.path
        if path.startswith("/grpc"):
            self.switch_port(8081)
        elif path.startswith("/metrics"):
            self.switch_port(9090)
        elif path.startswith("/undeclared"):
            self.switch_port(4711)
        if "crowd" in request.url.query:
            if self.crowd is None:
                self.crowd = asyncio.Barrier(int(request.url.query["crowd"]))
            await self.crowd.wait()
        return await super().fetch(request)


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        container = self.env.MULTI_PORT.get_by_name("ports")
        if request.url.path.startswith("/by-worker"):
            request = switch_port(request, int(request.url.name))
        response: Response = await container.fetch(request)
        return response
