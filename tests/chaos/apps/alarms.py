"""Objects that are woken: by one alarm, by a chain of them, by schedules."""

from __future__ import annotations

import time

from moorings import Container, DurableObject, Request, Response, WorkerEntrypoint

LINKS = 20
fired: list[str] = []
"""Whose alarms have been fired by this very process, in order."""


class Sleeper(DurableObject):
    """Counts how often its alarm was fired."""

    def set(self, due: float) -> None:
        """Set the alarm, in Unix seconds."""
        self.ctx.storage.set_alarm(due)

    async def alarm(self) -> None:
        fired.append(self.ctx.id.name or "")
        self.ctx.storage.put("fired", await self.ctx.storage.get("fired", 0) + 1)

    async def count(self) -> int:
        """How often it was fired."""
        counted: int = await self.ctx.storage.get("fired", 0)
        return counted


class Chain(DurableObject):
    """Sets its next alarm in each of them; the last one may be fired again, as any."""

    def set(self, due: float) -> None:
        """Set the first one."""
        self.ctx.storage.set_alarm(due)

    async def alarm(self) -> None:
        links = await self.ctx.storage.get("links", 0) + 1
        self.ctx.storage.put("links", links)
        if links < LINKS:
            self.ctx.storage.set_alarm(time.time() + 0.05)

    async def count(self) -> int:
        """Whether it has come to its end: 1, else 0."""
        done = await self.ctx.storage.get("links", 0) >= LINKS and await self.ctx.storage.get_alarm() is None
        return int(done)


class Job(Container):
    """Keeps what its schedules bring. Its program is never started."""

    entrypoint = ["false"]

    def set(self, due: float) -> None:
        """Schedule two calls."""
        for payload in ("first", "second"):
            self.schedule(max(0.0, due - time.time()), self.note, payload)

    def note(self, payload: str) -> None:
        """Called by a schedule."""
        self.ctx.storage.put(f"note:{payload}", True)

    async def count(self) -> int:
        """Whether both have been called: 1, else 0."""
        return int(len(await self.ctx.storage.list(prefix="note:")) == 2)


class Default(WorkerEntrypoint):
    """``/set/CLASS/NAME/DUE``, ``/count/CLASS/NAME``, and ``/order``; ``/many/COUNT/DUE`` sets a lot of them."""

    async def fetch(self, request: Request) -> Response:
        match request.url.path.split("/")[1:]:
            case ["set", kind, name, due]:
                await self.env[kind].get_by_name(name).set(float(due))
                return Response("set")
            case ["count", kind, name]:
                return Response.json(await self.env[kind].get_by_name(name).count())
            case ["many", count, due]:
                for number in reversed(range(int(count))):
                    await self.env.SLEEPER.get_by_name(str(number)).set(float(due) + 0.01 * number)
                return Response("set")
        return Response.json(fired)
