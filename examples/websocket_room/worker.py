"""WebSocket forwarding: each session's sockets reach the same container, which they share as a room."""

from uuid import uuid4

from moorings import Container, Response, WorkerEntrypoint


class WsBackend(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 3000
    sleep_after = "30m"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        if request.headers.get("Upgrade") == "websocket":
            session_id = request.headers.get("X-Session-ID") or str(uuid4())
            container = self.env.WS_BACKEND.get_by_name(session_id)
            await container.start_and_wait_for_ports()
            return await container.fetch(request)  # not container_fetch: only fetch hands the connection on
        return Response("Not a WebSocket request", status=400)
