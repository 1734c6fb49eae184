"""Session affinity with controls: `X-Bench: destroy`, `stop` or `state` act on the session's container.

Where the query is `wait`, the worker's handler waits for a second before it forwards.
"""

import asyncio
import os

from moorings import Container, Request, Response, WorkerEntrypoint


class Session(Container):
    entrypoint = ["taskset", "-c", os.environ["BENCH_LOAD_CORE"], os.environ["BENCH_UPSTREAM"], "{port}"]
    default_port = 3000
    sleep_after = "30m"
    max_instances = 2000


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        container = self.env.SESSION.get_by_name(request.headers["X-Session-ID"])
        match request.headers.get("X-Bench"):
            case "destroy":
                await container.destroy()
                return Response("destroyed")
            case "stop":
                await container.stop()
                return Response("stopping")
            case "state":
                return Response.json(await container.get_state())
        if request.url.query_string == "wait":
            await asyncio.sleep(1.0)
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
