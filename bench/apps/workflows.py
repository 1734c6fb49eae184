"""Workflows, timed: `/steps?instances=N&each=M&ms=X` and `/events?events=N`; `/woken?from=N` says who woke."""

import asyncio
import random
import time
import uuid
from typing import Any

from moorings import Request, Response, WorkerEntrypoint, WorkflowEntrypoint

woken: list[tuple[int, float]] = []
"""The number of each sleeper that was woken, and how many seconds after its time."""

came: asyncio.Queue[float] = asyncio.Queue()
finished: asyncio.Queue[int] = asyncio.Queue()


class Steps(WorkflowEntrypoint):
    async def run(self, event: Any, step: Any) -> None:
        longest = event.payload["ms"] / 1000

        async def work() -> int:
            if longest:
                await asyncio.sleep(random.uniform(0.0, longest))
            return 1

        total = 0
        for number in range(event.payload["each"]):
            total += await step.do(f"step {number}", work)
        finished.put_nowait(total)


class Listener(WorkflowEntrypoint):
    async def run(self, event: Any, step: Any) -> None:
        for number in range(event.payload["events"]):
            received = await step.wait_for_event(f"event {number}", type="ping", timeout="1 minute")
            came.put_nowait(time.perf_counter() - received.payload)


class Sleeper(WorkflowEntrypoint):
    async def run(self, event: Any, step: Any) -> None:
        await step.sleep("nap", "365 days")
        woken.append((event.payload["number"], time.time() - event.payload["due"]))


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        query = {name: int(value) for name, value in request.url.query.items()}
        match request.url.path:
            case "/steps":
                return Response.json(await self.steps(query["instances"], query["each"], query["ms"]))
            case "/events":
                return Response.json(await self.events(query["events"]))
            case "/woken":
                return Response.json(woken[query["from"] :])
        return Response("ok")

    async def steps(self, instances: int, each: int, ms: int) -> dict[str, float]:
        batch = [{"id": str(uuid.uuid4()), "params": {"each": each, "ms": ms}} for _ in range(instances)]
        began = time.perf_counter()
        for first in range(0, instances, 100):
            await self.env.STEPS.create_batch(batch[first : first + 100])
        done = sum([await finished.get() for _ in range(instances)])
        return {"rate": done / (time.perf_counter() - began)}

    async def events(self, events: int) -> dict[str, float]:
        instance = await self.env.LISTENER.create(None, {"events": events})
        latencies = []
        for _ in range(events):
            await instance.send_event("ping", time.perf_counter())
            latencies.append(await came.get())
        latencies.sort()
        return {"p50": latencies[events // 2], "p99": latencies[int(events * 0.99)]}
