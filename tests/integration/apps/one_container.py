"""Every request goes to one container of a program that records what it gets."""

import sys
from pathlib import Path

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = Path(__file__).parents[2] / "support" / "programs" / "many_routes.py"


class Recorder(Container):
    entrypoint = [sys.executable, str(PROGRAM)]
    default_port = 8080
    sleep_after = "10m"


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        response: Response = await self.env.RECORDER.get_by_name("recorder").fetch(request)
        return response
