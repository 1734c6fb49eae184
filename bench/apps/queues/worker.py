"""`/run?batch=10&messages=N` sends N messages in batches, and says how long it took until all were acknowledged."""

import asyncio
import time

from moorings import MessageBatch, Request, Response, WorkerEntrypoint

SENDERS = 16


class Progress:
    """What is left to do in a run."""

    def __init__(self) -> None:
        self.left = 0
        self.done = asyncio.Event()
        self.latencies: list[float] = []


progress = Progress()


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        size, messages = int(request.url.query["batch"]), int(request.url.query["messages"])
        queue = self.env.TEN if size == 10 else self.env.HUNDRED
        progress.left = messages
        progress.done.clear()
        progress.latencies.clear()

        async def send(batches: int) -> None:
            for _ in range(batches):
                now = time.perf_counter()
                await queue.send_batch([{"body": {"job": number, "sent": now}} for number in range(size)])

        began = time.perf_counter()
        await asyncio.gather(*(send(messages // size // SENDERS) for _ in range(SENDERS)))
        sent = time.perf_counter() - began
        await progress.done.wait()
        took = time.perf_counter() - began
        latencies = sorted(progress.latencies)
        return Response.json(
            {
                "rate": messages / took,
                "sends": messages / sent,
                "p50": latencies[len(latencies) // 2],
                "p99": latencies[int(len(latencies) * 0.99)],
            }
        )

    async def queue(self, batch: MessageBatch) -> None:
        sent = [message.body["sent"] for message in batch.messages]
        await batch.ack_all()
        now = time.perf_counter()
        progress.latencies += [now - when for when in sent]
        progress.left -= len(sent)
        if progress.left <= 0:
            progress.done.set()
