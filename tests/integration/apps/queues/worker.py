"""``POST /BINDING`` sends the JSON of its body; ``GET /`` tells what was consumed. An object sends, too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from moorings import DurableObject, MessageBatch, Request, Response, WorkerEntrypoint

consumed: list[Any] = []


def note(file: Path, line: str) -> None:
    """Write down what outlasts the platform."""
    with file.open("a") as written:
        written.write(line)


class Sender(DurableObject):
    """Counts, and sends the count."""

    async def count(self) -> int:
        """One more."""
        value: int = await self.ctx.storage.get("count", 0) + 1
        self.ctx.storage.put("count", value)
        await self.env.JOBS.send({"count": value})
        return value


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        match (request.method, request.url.name):
            case ("POST", "count"):
                return Response.json(await self.env.SENDER.get_by_name("one").count())
            case ("POST", binding):
                await self.env[binding].send(await request.json())
                return Response("sent")
        return Response.json(consumed)

    async def queue(self, batch: MessageBatch) -> None:
        if batch.queue == "slow":
            print("a slow batch begins")
            await asyncio.sleep(0.5)
            for message in batch.messages:
                note(Path(message.body["file"]), f"attempt {message.attempts}\n")
        consumed.extend([batch.queue, message.body, message.attempts] for message in batch.messages)
