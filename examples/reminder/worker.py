"""Things that happen later: an alarm, scheduled calls, and a cron. All of them survive restarts."""

from datetime import timedelta

from moorings import Container, DurableObject, Response, WorkerEntrypoint


class Reminder(DurableObject):
    """One note, due once: an object has one alarm."""

    async def remind(self, note: str, seconds: float) -> None:
        self.ctx.storage.put("note", note)
        self.ctx.storage.set_alarm(timedelta(seconds=seconds))

    async def alarm(self) -> None:
        note = await self.ctx.storage.get("note")
        await self.env.OUTBOX.get_by_name("everybody").deliver(note)


class Outbox(DurableObject):
    async def deliver(self, note: str) -> None:
        self.ctx.storage.put("delivered", [*await self.delivered(), note])

    async def delivered(self) -> list[str]:
        return await self.ctx.storage.get("delivered", [])


class Reporter(Container):
    """A program that is started for its reports, and sleeps between them."""

    image = "./container"
    entrypoint = ["python", "server.py"]
    default_port = 7000
    sleep_after = "10s"

    async def plan(self, title: str, seconds: float) -> str:
        scheduled = await self.schedule(timedelta(seconds=seconds), self.write_report, title)
        return scheduled.id

    async def planned(self) -> list[str]:
        return [scheduled.payload for scheduled in await self.list_schedules()]

    async def cancel(self, schedule_id: str) -> None:
        self.cancel_schedule(schedule_id)

    async def write_report(self, title: str) -> None:
        report = await (await self.container_fetch("/report", method="POST", body=title)).text()
        await self.env.OUTBOX.get_by_name("everybody").deliver(report)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        note, after = await request.text(), float(request.url.query.get("in", "0"))
        match (request.method, request.url.path):
            case ("POST", "/remind"):
                await self.env.REMINDER.get_by_name(note).remind(note, after)
            case ("POST", "/report"):
                return Response.json({"id": await self.env.REPORTER.get_by_name("daily").plan(note, after)})
            case ("DELETE", "/report"):
                await self.env.REPORTER.get_by_name("daily").cancel(note)
            case _:
                delivered = await self.env.OUTBOX.get_by_name("everybody").delivered()
                planned = await self.env.REPORTER.get_by_name("daily").planned()
                return Response.json({"delivered": delivered, "planned": planned})
        return Response(status=204)

    async def scheduled(self, controller):
        day = controller.scheduled_time.date().isoformat()
        await self.env.REPORTER.get_by_name("daily").plan(f"the report of {day}", 0)
