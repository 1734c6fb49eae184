"""The bench's upstream program in containers of Docker; ``BENCH_IMAGE`` is the folder of its image.

`X-Bench: destroy` ends the session's container. The class ``Frozen`` is frozen when it has been idle for half a second.
"""

import os

from moorings import Container, Request, Response, WorkerEntrypoint


class Session(Container):
    image = os.environ["BENCH_IMAGE"]
    default_port = 3000
    sleep_after: str | float = "30m"


class Frozen(Session):
    sleep_after = 0.5
    sleep_action = "pause"


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        binding = self.env.FROZEN if request.headers.get("X-Bench") == "frozen" else self.env.SESSION
        container = binding.get_by_name(request.headers["X-Session-ID"])
        if request.headers.get("X-Bench") == "destroy":
            await container.destroy()
            return Response("destroyed")
        if request.headers.get("X-Bench") == "state":
            return Response((await self.env.FROZEN.get_by_name(request.headers["X-Session-ID"]).get_state()).status)
        return await container.fetch(request)
