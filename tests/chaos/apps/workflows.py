"""Workflows that write down outside of the platform what their steps did, one line at a time."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from moorings import DurableObject, Response, WorkerEntrypoint, WorkflowEntrypoint

BRANCHES = 4
STEPS = 5 * BRANCHES
OUTPUT = 4 * BRANCHES
FAILURES = 2
"""How many attempts of a step fail: all that its retries allow."""

RETRY = {"retries": {"limit": FAILURES, "delay": 0.4, "backoff": "exponential"}}

diary = os.open(Path(os.environ.get("MOORINGS_DIARY", os.devnull)), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what: str, instance: str, step: str) -> None:
    os.write(diary, f"{what} {instance} {step}\n".encode())


def nap(instance: str, branch: int) -> float:
    """Seconds that a branch sleeps: some are kept in memory meanwhile, some are not."""
    return 0.1 + random.Random(f"{instance} {branch}").random() * 2.4


class Witness(DurableObject):
    async def saw(self, instance: str) -> None:
        note("finally", instance, "-")


class Flow(WorkflowEntrypoint):
    async def run(self, event: Any, step: Any) -> int:
        instance = event.instance_id

        async def do(name: str, config: Any = None, failures: int = 0) -> int:
            async def work(ctx: Any) -> int:
                note("ran", instance, name)
                await asyncio.sleep(random.random() * 0.01)
                if ctx.attempt <= failures:
                    raise ValueError(f"attempt {ctx.attempt} fails")
                return 1

            result: int = await step.do(name, config, work)
            note("after", instance, name)
            return result

        async def branch(number: int) -> int:
            done = await do(f"first-{number}")
            await step.sleep(f"nap-{number}", nap(instance, number))
            note("after", instance, f"nap-{number}")
            done += await do(f"retried-{number}", RETRY, FAILURES)
            received = await step.wait_for_event(f"event-{number}", type=f"go-{number}")
            note("after", instance, f"event-{number}")
            return done + int(received.payload) + await do(f"last-{number}")

        try:
            return sum(await asyncio.gather(*(branch(number) for number in range(BRANCHES))))
        finally:
            await self.env.WITNESS.get_by_name(instance).saw(instance)


class Default(WorkerEntrypoint):
    async def fetch(self, request: Any) -> Response:
        _, what, *rest = request.url.path.split("/")
        if what == "create":
            first, count = map(int, rest)
            ids = [f"i{number}" for number in range(first, first + count)]
            await self.env.FLOW.create_batch([{"id": instance} for instance in ids])
            return Response.json(len(ids))
        if what == "send":
            instance = await self.env.FLOW.get(rest[0])
            await instance.send_event(f"go-{rest[1]}", 1)
            return Response.json(True)
        instance = await self.env.FLOW.get(rest[0])
        return Response.json(await instance.status())
