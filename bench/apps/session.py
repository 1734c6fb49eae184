"""The session-affinity example, with the bench's upstream as the container's program."""

import os
from uuid import uuid4

from moorings import Container, Request, Response, WorkerEntrypoint


class SessionBackend(Container):
    entrypoint = ["taskset", "-c", os.environ["BENCH_LOAD_CORE"], os.environ["BENCH_UPSTREAM"], "{port}"]
    default_port = 3000
    sleep_after = "30m"


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        session_id = request.headers.get("X-Session-ID") or str(uuid4())
        container = self.env.SESSION_BACKEND.get_by_name(session_id)
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
