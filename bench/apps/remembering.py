"""Containers that remember: a thousand may run at once."""

import os
from pathlib import Path

from moorings import Container, Request, Response, WorkerEntrypoint


class Session(Container):
    entrypoint = [str(Path(os.environ["BENCH_UPSTREAM"]).with_name("rememberer")), "{port}"]
    default_port = 3000
    sleep_after = "1h"
    stop_grace = "5s"
    max_instances = 2000


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return await self.env.SESSION.get_by_name(request.headers["X-Session-ID"]).fetch(request)
