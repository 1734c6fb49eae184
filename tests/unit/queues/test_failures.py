"""Writes that are not stored: the queue goes back to what is stored, and on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from moorings.errors import StoreError
from moorings.queues.batch import MessageBatch
from moorings.queues.concurrency import INITIAL, MOST, Concurrency
from moorings.store.journal import Unit
from tests.unit.queues.support import Bench, bench, consuming


def fail_once(here: Bench) -> None:
    """The next batch of the journal fails as on a full disk."""
    writer = here.store.writer
    apply = writer.apply

    def failing(batch: Sequence[Unit], waiting: object) -> list[StoreError | None]:
        writer.apply = apply  # type: ignore[method-assign]
        return [StoreError("disk full")] * len(batch)

    writer.apply = failing  # type: ignore[method-assign]


async def test_a_send_that_is_not_stored_raises_and_the_next_is_stored(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        fail_once(here)
        with pytest.raises(StoreError, match="disk full"):
            await here.jobs.send(1)
        await here.jobs.send(2)
        await here.advance(3)
        assert here.batches == [[2]]


async def test_messages_whose_attempt_could_not_be_counted_are_not_delivered_until_it_can(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_timeout=1.0)) as here:
        await here.send(1)
        fail_once(here)
        await here.advance(1.1)
        assert here.batches == []
        await here.advance(4)
        assert here.attempts == [(1, 1)]
        assert await here.left() == 0


async def test_an_acknowledgement_that_was_not_stored_raises_and_the_message_comes_again(tmp_path: Path) -> None:
    raised: list[StoreError] = []

    async def acknowledges(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            fail_once(here)
        try:
            await batch.ack_all()
        except StoreError as error:
            raised.append(error)

    async with bench(tmp_path, consuming(), handler=acknowledges) as here:
        await here.send(1)
        assert len(raised) == 1
        assert await here.left() == 1
        await here.advance(3)
        assert here.attempts == [(1, 1), (1, 2)]
        assert await here.left() == 0


async def test_one_queues_failed_write_leaves_the_others_alone(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        other = here.producer("other")
        group = here.broker.queue("jobs")._writing()
        sending = asyncio.gather(here.jobs.send(1), other.send(2), return_exceptions=True)
        await asyncio.sleep(0)
        group.write("UPDATE queues SET paused = 0", expect=1_000)
        first, second = await sending
        assert isinstance(first, StoreError)
        assert second is None
        assert (await here.left("jobs"), await here.left("other")) == (0, 1)


def test_concurrency_grows_while_full_batches_wait_and_halves_with_each_failure() -> None:
    concurrency = Concurrency(None)
    for _ in range(1000):
        concurrency.ended_well(full_batch_waits=True)
    assert concurrency.limit == MOST
    concurrency.failed()
    assert concurrency.limit == MOST // 2
    for _ in range(1000):
        concurrency.ended_well(full_batch_waits=False)
    assert concurrency.limit == INITIAL
    for _ in range(10):
        concurrency.failed()
    assert concurrency.limit == 1
    concurrency.ended_well(full_batch_waits=False)
    assert concurrency.limit == 2


def test_a_concurrency_that_is_set_stays() -> None:
    concurrency = Concurrency(3)
    concurrency.ended_well(full_batch_waits=True)
    concurrency.failed()
    assert concurrency.limit == 3
    concurrency.use(None)
    assert concurrency.limit == INITIAL
