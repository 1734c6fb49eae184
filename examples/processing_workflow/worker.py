"""A workflow that starts a container, lets it process a job, and outlives every crash on the way."""

from moorings import Container, Response, WorkerEntrypoint, WorkflowEntrypoint


class Processor(Container):
    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 8080
    sleep_after = "1m"


class ProcessingWorkflow(WorkflowEntrypoint):
    async def run(self, event, step):
        container = self.env.PROCESSOR.get_by_name(event.payload["job_id"])
        await step.do("start", container.start_and_wait_for_ports)

        async def process():
            response = await container.fetch("/process", method="POST", json=event.payload["data"])
            return await response.json()

        result = await step.do("process", {"retries": {"limit": 3, "delay": "1 second"}}, process)
        await step.sleep("cool down", "2 seconds")
        return result


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        """``POST /`` creates an instance, ``GET /ID`` shows how it is."""
        if request.method == "POST":
            job = await request.json()
            instance = await self.env.PROCESSING_WORKFLOW.create(job["job_id"], job)
            return Response.json({"id": instance.id}, status=202)
        instance = await self.env.PROCESSING_WORKFLOW.get(request.url.name)
        return Response.json(await instance.status())
