"""A container with several ports: the path of a request says which one it goes to."""

from moorings import Container, WorkerEntrypoint


class MultiPortContainer(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    required_ports = [8080, 8081, 9090]

    async def fetch(self, request):
        path = request.url.path
        if path.startswith("/grpc"):
            self.switch_port(8081)
        elif path.startswith("/metrics"):
            self.switch_port(9090)
        return await super().fetch(request)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        container = self.env.MULTI_PORT_CONTAINER.get_by_name("service")
        await container.start_and_wait_for_ports()
        return await container.fetch(request)
