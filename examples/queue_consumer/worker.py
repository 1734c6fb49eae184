"""Jobs that wait in a queue, each processed by a container of its own."""

from moorings import Container, Response, WorkerEntrypoint


class Processor(Container):
    """Works on the jobs of one name, one after the other, and sleeps when there are none."""

    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 8080
    sleep_after = "1m"


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        """``POST /`` takes a job, ``GET /NAME`` shows what was done for that name."""
        if request.method == "POST":
            await self.env.JOBS.send(await request.json())
            return Response("accepted\n", status=202)
        return await self.env.PROCESSOR.get_by_name(request.url.name).fetch("/results")

    async def queue(self, batch):
        for message in batch.messages:
            try:
                container = self.env.PROCESSOR.get_by_name(message.body["job_id"])
                await container.start_and_wait_for_ports()
                response = await container.fetch("/process", method="POST", json=message.body)
                message.ack() if response.ok else message.retry()
            except Exception as error:
                print("queue processing error:", error)
                message.retry()
