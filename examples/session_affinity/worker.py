"""One container per session: the same session always reaches the same process."""

from uuid import uuid4

from moorings import Container, WorkerEntrypoint


class SessionBackend(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 3000
    sleep_after = "30m"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        session_id = request.headers.get("X-Session-ID") or str(uuid4())
        container = self.env.SESSION_BACKEND.get_by_name(session_id)
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
