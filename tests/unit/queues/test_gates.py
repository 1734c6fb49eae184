"""A send from inside an object is one of its effects: it waits for the object's writes before it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from moorings.errors import StoreError
from moorings.objects.event import Event, EventKind, current_event
from moorings.queues.batch import MessageBatch
from moorings.queues.settings import QueueSettings
from tests.unit.queues.support import bench, consuming


class Writing:
    """An object whose writes are not durable yet."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def written(self) -> None:
        await asyncio.shield(self.outcome)


async def test_a_send_leaves_an_object_after_its_writes_are_durable(tmp_path: Path) -> None:
    async with bench(tmp_path, QueueSettings()) as here:
        here.producer("jobs")
        writing = Writing()
        current_event.set(Event(cast(Any, writing), EventKind.HANDLER, "handler", None))
        for send in (here.jobs.send(1), here.jobs.send_batch([{"body": 2}])):
            sending = asyncio.ensure_future(send)
            await here.quiet()
            assert await here.left() == 0
            sending.cancel()
        sending = asyncio.ensure_future(here.jobs.send(3))
        writing.outcome.set_result(None)
        await sending
        assert await here.left() == 1


async def test_nothing_is_sent_where_the_writes_before_it_are_lost(tmp_path: Path) -> None:
    async with bench(tmp_path, QueueSettings()) as here:
        queue = here.jobs
        writing = Writing()
        writing.outcome.set_exception(StoreError("disk full"))
        current_event.set(Event(cast(Any, writing), EventKind.HANDLER, "handler", None))
        with pytest.raises(StoreError):
            await queue.send(1)
        assert await here.left() == 0


async def test_a_delivery_is_nobodys_event_whoever_has_sent_its_message(tmp_path: Path) -> None:
    seen = []

    async def looks(batch: MessageBatch) -> None:
        seen.append(current_event.get())

    async with bench(tmp_path, consuming(max_batch_size=1), handler=looks) as here:
        writing = Writing()
        writing.outcome.set_result(None)
        current_event.set(Event(cast(Any, writing), EventKind.HANDLER, "handler", None))
        await here.jobs.send(1)
        await here.managing.pause("jobs")
        await here.jobs.send(2)
        await here.managing.resume("jobs")
        await here.quiet()
        assert seen == [None, None]
