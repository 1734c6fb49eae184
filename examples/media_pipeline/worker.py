"""A queue takes jobs, a workflow does each in a container of its own, and storage keeps what came out."""

from typing import Any

from moorings import Container, DurableObject, NonRetryableError, Response, WorkerEntrypoint, WorkflowEntrypoint


class Encoder(Container):
    """Works on one job, and is destroyed after it."""

    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 8080
    sleep_after = "30s"  # for the containers of jobs that failed


class Library(DurableObject):
    """What came out of each job."""

    async def add(self, job_id: str, media: dict[str, Any]) -> None:
        self.ctx.storage.put(job_id, media)

    async def find(self, job_id: str) -> dict[str, Any] | None:
        return await self.ctx.storage.get(job_id)


class MediaWorkflow(WorkflowEntrypoint):
    async def run(self, event, step):
        job = event.payload
        encoder = self.env.ENCODER.get_by_name(job["job_id"])
        library = self.env.LIBRARY.get_by_name("library")

        async def encode():
            response = await encoder.fetch("/encode", method="POST", json=job)
            if response.status == 422:
                raise NonRetryableError(await response.text())  # the medium is at fault: the same again won't help
            if not response.ok:
                raise RuntimeError(await response.text())
            return await response.json()

        try:
            await step.do("start", encoder.start_and_wait_for_ports)
            media = await step.do("encode", {"retries": {"limit": 3, "delay": 0.2}}, encode)
        except Exception as error:
            letter = {**job, "error": str(error)}
            await step.do("give up", lambda: self.env.DEAD.send(letter))
            raise
        await step.do("keep", lambda: library.add(job["job_id"], media))
        await step.do("clean up", encoder.destroy)
        return media


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        """``POST /`` takes a job, ``GET /JOB_ID`` gives what came out of it."""
        if request.method == "POST":
            await self.env.UPLOADS.send(await request.json())
            return Response("accepted\n", status=202)
        media = await self.env.LIBRARY.get_by_name("library").find(request.url.name)
        return Response.json(media) if media else Response("not there (yet)\n", status=404)

    async def queue(self, batch):
        """Hand each job to a workflow. The instance has the job's id, so a second delivery makes no second one."""
        for message in batch.messages:
            try:
                job_id = message.body["job_id"]
                created = await self.env.MEDIA_WORKFLOW.create_batch([{"id": job_id, "params": message.body}])
                instance = await self.env.MEDIA_WORKFLOW.get(job_id)
                if not created and (await instance.status()).status == "errored":
                    await instance.restart()  # a dead letter that is tried again
                message.ack()
            except Exception as error:
                print("no workflow could be made of the job:", repr(error))
                message.retry()
