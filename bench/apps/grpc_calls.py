"""One container that answers gRPC calls, behind a worker that routes them by metadata."""

import os
import sys
from pathlib import Path

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = Path(__file__).parents[1] / "programs" / "grpc_upstream.py"


class Calls(Container):
    entrypoint = [
        *("taskset", "-c", os.environ["BENCH_LOAD_CORE"]),
        *(sys.executable, str(PROGRAM), os.environ["BENCH_NGHTTPD"], "{port}"),
    ]
    default_port = 50051
    sleep_after = "30m"


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        container = self.env.CALLS.get_by_name(request.headers.get("x-tenant", "everybody"))
        await container.start_and_wait_for_ports()
        response: Response = await container.fetch(request)
        return response
