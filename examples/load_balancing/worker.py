"""Several interchangeable containers: each request goes to one of them that has little to do."""

from moorings import Container, WorkerEntrypoint


class StatelessApi(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 8080
    sleep_after = "5m"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        container = self.env.STATELESS_API.get_random()
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
