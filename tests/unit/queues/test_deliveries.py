"""Batches: when they begin, what is in them, and what becomes of their messages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moorings.errors import LeaseLost
from moorings.queues.batch import MessageBatch
from tests.unit.queues.support import bench, consuming, raising


async def test_a_full_batch_is_delivered_at_once_and_the_rest_when_it_has_waited(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=3, max_batch_timeout=5.0)) as here:
        await here.send(1, 2, 3, 4)
        assert here.batches == [[1, 2, 3]]
        await here.advance(4.9)
        assert here.batches == [[1, 2, 3]]
        await here.advance(0.2)
        assert here.batches == [[1, 2, 3], [4]]
        assert await here.left() == 0


async def test_a_batch_waits_from_its_first_message_on(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_timeout=5.0)) as here:
        await here.send("first")
        await here.advance(4)
        await here.send("second")
        await here.advance(1.1)
        assert here.batches == [["first", "second"]]


async def test_messages_keep_the_order_of_their_sends(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=7)) as here:
        await asyncio.gather(*(here.jobs.send(number) for number in range(50)))
        await here.send(*range(50, 100))
        assert [body for batch in here.batches for body in batch] == list(range(100))


async def test_a_backlog_larger_than_memory_is_delivered_in_order(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=100)) as here:
        here.broker.queue("jobs").set_paused(True)
        await here.send(*range(5000))
        window = here.broker.consumer("jobs")
        assert window is not None
        assert len(window.window) <= 2000
        here.broker.queue("jobs").set_paused(False)
        window.dispatch()
        for _ in range(20):
            await here.quiet()
        assert [body for batch in here.batches for body in batch] == list(range(5000))
        assert await here.left() == 0


async def test_at_most_max_concurrency_batches_are_under_way(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def waits(batch: MessageBatch) -> None:
        await release.wait()

    async with bench(tmp_path, consuming(max_batch_size=1, max_concurrency=2), handler=waits) as here:
        await here.send(1, 2, 3)
        assert here.batches == [[1], [2]]
        release.set()
        await here.quiet()
        assert here.batches == [[1], [2], [3]]


async def test_the_return_of_the_handler_acknowledges_what_nothing_was_said_about(tmp_path: Path) -> None:
    async def retries_two(batch: MessageBatch) -> None:
        for message in batch.messages:
            if message.body == 2 and message.attempts == 1:
                message.retry()

    async with bench(tmp_path, consuming(), handler=retries_two) as here:
        await here.send(1, 2, 3)
        assert here.batches == [[1, 2, 3], [2]]
        assert here.attempts[-1] == (2, 2)
        assert await here.left() == 0


async def test_a_handler_that_raises_has_all_retried_but_what_it_acknowledged(tmp_path: Path) -> None:
    async def fails_once(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            batch.messages[1].ack()
            raise LookupError("no")

    async with bench(tmp_path, consuming(), handler=fails_once) as here:
        await here.send(1, 2, 3)
        assert here.batches == [[1, 2, 3], [1, 3]]
        assert here.errors == ["no"]
        assert await here.left() == 0


async def test_calls_on_a_message_win_over_those_on_the_batch_in_either_order(tmp_path: Path) -> None:
    async def mixed(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            batch.messages[0].retry()
            batch.ack_all()
            batch.messages[1].retry()
        elif len(here.batches) == 2:
            batch.messages[0].ack()
            batch.retry_all()
            batch.messages[1].ack()

    async with bench(tmp_path, consuming(), handler=mixed) as here:
        await here.send("a", "b", "c")
        assert here.batches == [["a", "b", "c"], ["a", "b"]]
        assert await here.left() == 0


async def test_of_several_calls_the_first_wins(tmp_path: Path) -> None:
    async def changes_its_mind(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            one, two, three = batch.messages
            one.ack()
            one.retry()
            two.retry()
            two.ack()
            batch.retry_all()
            batch.ack_all()
            assert three.attempts == 1

    async with bench(tmp_path, consuming(), handler=changes_its_mind) as here:
        await here.send(1, 2, 3)
        assert here.batches == [[1, 2, 3], [2, 3]]
        assert await here.left() == 0


async def test_an_acknowledgement_that_was_awaited_is_durable(tmp_path: Path) -> None:
    async def acknowledges(batch: MessageBatch) -> None:
        await batch.messages[0].ack()
        assert await here.left() == 1
        await batch.ack_all()
        assert await here.left() == 0

    async with bench(tmp_path, consuming(), handler=acknowledges) as here:
        await here.send(1, 2)
        assert here.batches == [[1, 2]]
        assert here.errors == []


async def test_a_message_goes_to_the_dead_letter_queue_after_its_last_retry(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_retries=2, dead_letter_queue="dead"), handler=raising) as here:
        await here.send("bad")
        assert here.attempts == [("bad", 1), ("bad", 2), ("bad", 3)]
        assert await here.left() == 0
        [dead] = await here.broker.queue("dead").first(0, 10)
        assert (dead.body, dead.attempts, dead.source) == (b'"bad"', 0, "jobs")


async def test_without_a_dead_letter_queue_it_is_dropped_with_a_notice(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_retries=0), handler=raising) as here:
        await here.send("bad")
        assert here.attempts == [("bad", 1)]
        assert await here.left() == 0
        [notice] = here.notices
        assert "dropped after 1 attempts" in notice


async def test_a_retry_waits_for_its_delay_else_for_that_of_the_consumer(tmp_path: Path) -> None:
    async def retries(batch: MessageBatch) -> None:
        for message in batch.messages:
            if message.attempts == 1:
                message.retry(delay_seconds=5 if message.body == "short" else None)

    async with bench(tmp_path, consuming(retry_delay=60.0), handler=retries) as here:
        await here.send("short", "default")
        await here.advance(4.9)
        assert len(here.batches) == 1
        await here.advance(0.2)
        assert here.batches[1:] == [["short"]]
        await here.advance(55)
        assert here.batches[2:] == [["default"]]
        assert await here.left() == 0


async def test_a_handler_that_hangs_is_cut_off_and_its_messages_are_retried(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    async def hangs_once(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    async with bench(tmp_path, consuming(lease=900.0), handler=hangs_once) as here:
        await here.send(1)
        await here.advance(899)
        assert here.batches == [[1]]
        await here.advance(2)
        assert here.batches == [[1], [1]]
        assert cancelled == [True]
        assert await here.left() == 0
        assert "over 900 s" in here.errors[0]


async def test_what_a_handler_says_after_its_time_changes_nothing(tmp_path: Path) -> None:
    late: list[MessageBatch] = []

    async def keeps(batch: MessageBatch) -> None:
        late.append(batch)
        if len(late) == 1:
            await asyncio.Event().wait()
        batch.retry_all(delay_seconds=60)

    async with bench(tmp_path, consuming(lease=10.0), handler=keeps) as here:
        await here.send(1)
        await here.advance(11)
        with pytest.raises(LeaseLost):
            await late[0].messages[0].ack()
        await here.quiet()
        assert [batch.messages[0].attempts for batch in late] == [1, 2]
        assert await here.left() == 1


async def test_a_cancellation_that_the_handler_lets_out_has_its_messages_retried(tmp_path: Path) -> None:
    async def awaits_what_was_cancelled(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

    async with bench(tmp_path, consuming(), handler=awaits_what_was_cancelled) as here:
        await here.send(1)
        assert here.attempts == [(1, 1), (1, 2)]
        assert await here.left() == 0
        assert "cancellation" in here.errors[0]


async def test_a_handler_that_cancels_itself_has_its_messages_retried(tmp_path: Path) -> None:
    async def cancels_itself(batch: MessageBatch) -> None:
        if len(here.batches) == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async with bench(tmp_path, consuming(), handler=cancels_itself) as here:
        await here.send(1)
        assert here.attempts == [(1, 1), (1, 2)]
        assert await here.left() == 0
        assert "cancellation" in here.errors[0]


async def test_large_messages_do_not_wait_for_a_batch_that_memory_cannot_hold(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=100, max_batch_timeout=60.0)) as here:
        for _ in range(50):
            await here.jobs.send_batch([{"body": "x" * 120_000}] * 2)
        await here.quiet()
        assert sum(map(len, here.batches)) > 50
        await here.advance(61)
        assert sum(map(len, here.batches)) == 100


async def test_an_acknowledgement_after_the_handlers_return_finds_it_done(tmp_path: Path) -> None:
    kept: list[MessageBatch] = []

    async def keeps(batch: MessageBatch) -> None:
        kept.append(batch)

    async with bench(tmp_path, consuming(), handler=keeps) as here:
        await here.send(1)
        await kept[0].messages[0].ack()
        assert await here.left() == 0
