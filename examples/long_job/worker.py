"""A job that takes longer than ``sleep_after``: touching storage keeps its container awake."""

import asyncio
import time
from typing import Any

from moorings import Container, Response, WorkerEntrypoint


class LongRunningContainer(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 4000
    sleep_after = "5m"
    keepalive_every = 60.0
    look_every = 600.0

    async def process_long_job(self, data: str) -> dict[str, Any]:
        async def keep_awake():
            while True:
                await asyncio.sleep(self.keepalive_every)
                self.ctx.storage.put("keepalive", time.time())

        keepalive = asyncio.create_task(keep_awake())
        try:
            return await self.do_long_work(data)
        finally:
            keepalive.cancel()

    async def do_long_work(self, data: str) -> dict[str, Any]:
        await self.container_fetch("/jobs", method="POST", body=data)
        while True:  # the program works by itself; between two looks there is no request that would keep it awake
            await asyncio.sleep(self.look_every)
            job = await (await self.container_fetch("/jobs")).json()
            if job["done"]:
                return job


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name = request.url.path.strip("/") or "job"
        container = self.env.LONG_RUNNING_CONTAINER.get_by_name(name)
        return Response.json(await container.process_long_job(await request.text()))
