"""Graceful shutdown: clients are told before the container stops, and it stays awake while they are connected."""

import time

from moorings import Container, Response, WorkerEntrypoint


class GracefulContainer(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 3000
    sleep_after = "30s"

    def on_stop(self):
        # SIGTERM follows; 15 minutes after it, SIGKILL
        for ws in self.connections:
            ws.close(1001, "Server shutting down")
        self.ctx.storage.put("shutdown-time", time.time())

    def on_activity_expired(self):
        return len(self.connections) > 0  # stay awake while somebody is connected

    async def shutdown_time(self):
        return await self.ctx.storage.get("shutdown-time")


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        container = self.env.GRACEFUL_CONTAINER.get_by_name("session")
        match request.url.path:
            case "/stop":
                await container.stop()
                return Response("stopping\n")
            case "/state":
                state = await container.get_state()
                return Response.json({"status": state.status, "shutdown_time": await container.shutdown_time()})
        return await container.fetch(request)
