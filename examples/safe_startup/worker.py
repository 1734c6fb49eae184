"""One-time initialization: requests that come meanwhile wait for it, and none of them repeats it."""

from moorings import Container, WorkerEntrypoint


class SafeContainer(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 5000
    sleep_after = "10m"
    initialized = False

    async def fetch(self, request):
        async def initialize():
            if not self.initialized:
                await self.start_and_wait_for_ports()
                await self.container_fetch("/load", method="POST")
                self.initialized = True

        await self.ctx.block_concurrency_while(initialize)
        return await super().fetch(request)

    def on_exit(self, exit_code, reason):
        self.initialized = False  # the next program has to be initialized anew


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.SAFE_CONTAINER.get_by_name("model").fetch(request)
