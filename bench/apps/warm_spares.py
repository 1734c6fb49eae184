"""The bench's upstream program, kept warm and frozen. With ``BENCH_IMAGE``, the folder of its image, on Docker.

``X-Bench`` chooses the class; ``X-Do: destroy`` ends the session's container.
"""

import os

from moorings import Container, Request, Response, WorkerEntrypoint


class Spare(Container):
    image = os.environ.get("BENCH_IMAGE")
    entrypoint = None if image else [os.environ["BENCH_UPSTREAM"], "{port}"]
    default_port = 3000
    sleep_after: str | float = "30m"
    warm_spares = 1


class Frozen(Spare):
    sleep_after = 0.2
    sleep_action = "pause"
    env_vars = {"BENCH_ROLE": "frozen"}  # by which the bench finds its process
    warm_spares = 0


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        binding = self.env.FROZEN if request.headers.get("X-Bench") == "frozen" else self.env.SPARE
        container = binding.get_by_name(request.headers["X-Session-ID"])
        if request.headers.get("X-Do") == "destroy":
            await container.destroy()
            return Response("destroyed")
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
