"""One container that takes and gives bodies of any size."""

import os
import sys
from pathlib import Path

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = Path(__file__).parents[1] / "programs" / "bodies.py"


class Bodies(Container):
    entrypoint = ["taskset", "-c", os.environ["BENCH_LOAD_CORE"], sys.executable, str(PROGRAM), "{port}"]
    default_port = 3000


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        response: Response = await self.env.BODIES.get_by_name("a").fetch(request)
        return response
