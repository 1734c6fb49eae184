"""Programs behind HTTP/2 and TLS: what a request asks for says which container gets it.

``X-Doze`` names one of DOZER, whose state ``/-/state`` tells.
"""

import sys
from pathlib import Path
from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAMS = Path(__file__).parents[2] / "support" / "programs"


class Recorder(Container):
    entrypoint = [sys.executable, str(PROGRAMS / "many_routes.py")]
    default_port = 8080


class Dozer(Container):
    entrypoint = [sys.executable, str(PROGRAMS / "many_routes.py")]
    default_port = 8080
    sleep_after = 0.2


class Echo(Container):
    entrypoint = [sys.executable, str(PROGRAMS / "websocket_echo.py")]
    default_port = 3000


class Interop(Container):
    entrypoint = [sys.executable, str(PROGRAMS / "grpc_interop.py"), "{port}"]
    default_port = 8080
    h2c_ports = [8080]


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        name = request.headers.get("X-Doze", "one")
        container: Any = self.env.RECORDER
        if request.headers.get("Content-Type", "").startswith("application/grpc"):
            container = self.env.INTEROP
        elif request.upgrade is not None:
            container = self.env.ECHO
        elif "X-Doze" in request.headers:
            container = self.env.DOZER
        match request.url.path:
            case "/-/url":
                return Response(str(request.url))
            case "/-/state":
                return Response.json(await self.env.DOZER.get_by_name(name).get_state())
        response: Response = await container.get_by_name(name).fetch(request)
        return response
