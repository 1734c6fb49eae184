"""Alarms and schedules pass the gates as every other event does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from moorings.objects.durable_object import DurableObject
from tests.unit.objects.timing import place


class Blocker(DurableObject):
    async def block(self, seconds: float) -> list[str]:
        self.log = ["block begins"]
        self.release = asyncio.Event()
        await self.ctx.storage.set_alarm(seconds)

        async def closure() -> None:
            await self.release.wait()
            self.log.append("block ends")

        await self.ctx.block_concurrency_while(closure)
        return self.log

    def alarm(self) -> None:
        self.log.append("alarm")

    def read(self) -> list[str]:
        return self.log


async def test_an_alarm_that_is_due_while_a_block_runs_waits_for_its_end(tmp_path: Path) -> None:
    async with place(tmp_path, Blocker) as here:
        stub = here.stub(Blocker)
        block = asyncio.ensure_future(stub.block(here.clock.time() + 5))
        await here.pass_time(10)
        (activation,) = here.objects.activations()
        assert activation.instance.log == ["block begins"]
        activation.instance.release.set()
        await block
        await here.settle()
        assert await stub.read() == ["block begins", "block ends", "alarm"]
