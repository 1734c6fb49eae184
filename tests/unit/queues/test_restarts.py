"""What is stored, and what a restart makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from moorings.clock import ManualClock
from moorings.queues.batch import MessageBatch
from tests.unit.queues.support import bench, consuming, nothing


async def hangs(batch: MessageBatch) -> None:
    await asyncio.Event().wait()


async def test_messages_that_were_under_way_come_again_and_their_attempt_counts(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(), handler=hangs) as first:
        await first.send(1, 2)
        assert first.batches == [[1, 2]]
    async with bench(tmp_path, consuming()) as second:
        assert second.attempts == [(1, 2), (2, 2)]
        assert await second.left() == 0


async def test_a_message_whose_last_attempt_was_cut_off_goes_to_the_dead_letter_queue(tmp_path: Path) -> None:
    settings = consuming(max_retries=1, dead_letter_queue="dead")
    for attempts in (1, 2):
        async with bench(tmp_path, settings, handler=hangs) as here:
            if attempts == 1:
                await here.send("crashes the platform")
            assert here.attempts == [("crashes the platform", attempts)]
    async with bench(tmp_path, settings) as here:
        assert here.batches == []
        assert (await here.left("jobs"), await here.left("dead")) == (0, 1)


async def test_delayed_messages_are_delivered_when_due_also_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, consuming(), clock=clock) as first:
        await first.send("later", delay_seconds=60)
        await first.send("now")
        await first.advance(10)
        assert first.batches == [["now"]]
    async with bench(tmp_path, consuming(), clock=clock) as second:
        await second.advance(49)
        assert second.batches == []
        await second.advance(2)
        assert second.batches == [["later"]]


async def test_delayed_messages_are_delivered_in_the_order_of_their_time(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=1)) as here:
        for delay in (30, 10, 20):
            await here.send(delay, delay_seconds=delay)
        await here.send(0)
        await here.advance(40)
        assert here.batches == [[0], [10], [20], [30]]
        assert here.clock.pending == 1  # the sweep: an idle queue has no timer


async def test_delays_hold_after_wall_time_was_set_back(tmp_path: Path) -> None:
    async def retry_once(batch: MessageBatch) -> None:
        for message in batch.messages:
            if message.attempts == 1 and message.body == "retried":
                message.retry(delay_seconds=30)

    async with bench(tmp_path, consuming(), handler=retry_once) as here:
        await here.send("before", delay_seconds=10)
        await here.advance(11)
        here.clock.jump(-3600)
        await here.send("delayed", delay_seconds=30)
        await here.send("retried")
        await here.advance(29)
        assert here.batches == [["before"], ["retried"]]
        await here.advance(2)
        assert here.attempts[2:] == [("delayed", 1), ("retried", 2)]
        assert await here.left() == 0


async def test_a_message_says_the_same_of_itself_at_every_delivery(tmp_path: Path) -> None:
    seen = []

    async def looks(batch: MessageBatch) -> None:
        [message] = batch.messages
        seen.append((message.id, message.timestamp.timestamp()))
        if len(seen) == 1:
            await asyncio.Event().wait()

    clock = ManualClock()
    async with bench(tmp_path, consuming(), handler=looks, clock=clock) as first:
        await first.send(1)
    await clock.advance(100)
    async with bench(tmp_path, consuming(), handler=looks, clock=clock):
        pass
    assert seen[0] == seen[1] == (seen[0][0], clock.time() - 100)
    assert len(seen[0][0]) == 32


async def test_a_paused_queue_takes_messages_and_delivers_none_also_after_a_restart(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as first:
        await first.broker.queue("jobs").set_paused(True)
        await first.send(1)
        await first.advance(60)
        assert first.batches == []
    async with bench(tmp_path, consuming()) as second:
        await second.advance(60)
        assert second.batches == []
        await second.broker.queue("jobs").set_paused(False)
        consumer = second.broker.consumer("jobs")
        assert consumer is not None
        consumer.dispatch()
        await second.quiet()
        assert second.batches == [[1]]


async def test_messages_older_than_the_retention_are_deleted(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, consuming(), clock=clock) as here:
        await here.broker.queue("jobs").set_paused(True)
        await here.send("old")
        await here.advance(300_000)
        await here.send("young")
        await here.advance(345_600 - 300_000 + 60)
        assert await here.left() == 1
    async with bench(tmp_path, consuming(), clock=clock) as here:
        await here.broker.queue("jobs").set_paused(False)
        consumer = here.broker.consumer("jobs")
        assert consumer is not None
        consumer.dispatch()
        await here.quiet()
        assert here.batches == [["young"]]


async def test_a_consumer_that_goes_away_leaves_the_messages_and_another_takes_them(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(), handler=nothing) as here:
        here.broker.use(consuming("others"))
        await here.send(1, 2)
        assert here.batches == []
        here.broker.use(consuming(max_batch_size=1))
        await here.quiet()
        assert here.batches == [[1], [2]]
        assert await here.left() == 0
