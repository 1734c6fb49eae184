"""Objects with storage: `/puts?objects=N&each=M` counts in N objects M times each and says how long it took.

`/touch?from=A&to=B` writes once in each of the objects of those numbers.
"""

import asyncio
import time

from moorings import DurableObject, Request, Response, WorkerEntrypoint


class Counter(DurableObject):
    async def add(self) -> int:
        value = (await self.ctx.storage.get("value", 0)) + 1
        self.ctx.storage.put("value", value)
        return int(value)


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        query = request.url.query
        if request.url.path == "/puts":
            return Response.json(await self.puts(int(query["objects"]), int(query["each"])))
        for first in range(int(query.get("from", "0")), int(query.get("to", "0")), 500):
            last = min(first + 500, int(query["to"]))
            await asyncio.gather(*(self.env.COUNTER.get_by_name(f"touch-{n}").add() for n in range(first, last)))
        return Response("ok")

    async def puts(self, objects: int, each: int) -> dict[str, object]:
        latencies: list[float] = []

        async def count(name: str) -> None:
            counter = self.env.COUNTER.get_by_name(name)
            for _ in range(each):
                began = time.perf_counter()
                await counter.add()
                latencies.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(count(f"put-{number}") for number in range(objects)))
        took = time.perf_counter() - began
        latencies.sort()
        return {
            "rate": len(latencies) / took,
            "p50": latencies[len(latencies) // 2],
            "p99": latencies[int(len(latencies) * 0.99)],
        }
