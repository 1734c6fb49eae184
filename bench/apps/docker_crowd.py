"""Containers of which there may be forty, spares included; the path is a name.

``BENCH_IMAGE`` is the folder of their image.
"""

import os

from moorings import Container, Request, Response, WorkerEntrypoint


class Crowd(Container):
    image = os.environ["BENCH_IMAGE"]
    default_port = 3000
    sleep_after = "15s"  # longer than those wait who find no place
    stop_grace = "2s"
    max_instances = 40
    warm_spares = 3


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        return await self.env.CROWD.get_by_name(request.url.parts[1]).fetch(request)
