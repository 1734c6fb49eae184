"""One container for everybody: a single source of truth."""

from moorings import Container, WorkerEntrypoint


class GlobalService(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 4000


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        container = self.env.GLOBAL_SERVICE.get_by_name("singleton")
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
