"""Containers without a core of their own: a spawn costs what it costs, and nothing is between it and the program.

`X-Bench: destroy` ends the session's container.
"""

import os

from moorings import Container, Request, Response, WorkerEntrypoint


class Session(Container):
    entrypoint = [os.environ["BENCH_UPSTREAM"], "{port}"]
    default_port = 3000
    sleep_after = "30m"


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        container = self.env.SESSION.get_by_name(request.headers["X-Session-ID"])
        if request.headers.get("X-Bench") == "destroy":
            await container.destroy()
            return Response("destroyed")
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
