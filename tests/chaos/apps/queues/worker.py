"""A consumer that acknowledges, retries, raises and hangs as it happens, and keeps a record that no kill can take back.

A line of the record: ``d NUMBER ATTEMPT`` for a delivery, ``i NUMBER`` before an acknowledgement, which is left to the
handler's return where no ``a NUMBER`` follows: that stands for one that was awaited, and so is durable.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable
from pathlib import Path

from moorings import Message, MessageBatch, Request, Response, WorkerEntrypoint

POISON = 400
"""One message in so many is never acknowledged."""

record = os.open(Path(os.environ["TMPDIR"]).parent / "record", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(lines: Iterable[str]) -> None:
    """Write lines at once: all of them survive this process, or none was written."""
    os.write(record, "".join(f"{line}\n" for line in lines).encode())


async def handle(message: Message) -> str:
    """Decide about a message; returns the line to record where it is left to the handler's return."""
    number: int = message.body
    if number % POISON == 0 or (luck := random.random()) < 0.05:
        message.retry()
    elif luck < 0.08:
        message.retry(delay_seconds=random.uniform(0.01, 0.3))
    elif luck < 0.4:
        note([f"i {number}"])
        await message.ack()
        note([f"a {number}"])
    else:
        return f"i {number}"
    return ""


class Default(WorkerEntrypoint):
    """``/send/FIRST/COUNT`` sends the numbers from FIRST on."""

    async def fetch(self, request: Request) -> Response:
        first, count = map(int, request.url.path.split("/")[-2:])
        await self.env.JOBS.send_batch([{"body": number} for number in range(first, first + count)])
        return Response("sent")

    async def queue(self, batch: MessageBatch) -> None:
        note(f"d {message.body} {message.attempts}" for message in batch.messages)
        fate = random.random()
        if fate < 0.003:
            await asyncio.Event().wait()
        intended = await asyncio.gather(*map(handle, batch.messages))
        if fate < 0.02:
            raise LookupError("as it happens")
        note(filter(None, intended))
