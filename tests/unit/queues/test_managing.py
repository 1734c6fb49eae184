"""What an operator does to queues."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moorings.errors import InvalidMessage, QueueConflict, QueueNotFound
from moorings.queues.batch import MessageBatch
from moorings.queues.managing import MessageState
from moorings.queues.settings import ConsumerSettings
from tests.unit.queues.support import bench, consuming, nothing, raising, settings_of


async def hangs(batch: MessageBatch) -> None:
    await asyncio.Event().wait()


async def test_the_list_counts_what_waits_and_what_is_under_way(tmp_path: Path) -> None:
    settings = consuming(max_batch_size=2, max_concurrency=1, dead_letter_queue="dead")
    async with bench(tmp_path, settings, handler=hangs) as here:
        await here.send(1, 2, 3)
        await here.send(4, delay_seconds=60)
        dead, jobs = await here.managing.statuses()
        assert (jobs.name, jobs.messages, jobs.delayed, jobs.in_flight) == ("jobs", 4, 1, 2)
        assert (jobs.consumer, jobs.dead_letter_queue, jobs.paused) == ("worker", "dead", False)
        assert (dead.name, dead.messages, dead.consumer, dead.oldest) == ("dead", 0, None, None)


async def test_peeking_takes_nothing_and_tells_where_each_message_is(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming(max_batch_size=1, max_concurrency=1), handler=hangs) as here:
        await here.send({"a": 1}, "ready")
        await here.send("later", delay_seconds=60)
        await here.jobs.send(b"\x00", content_type="bytes")
        flying, ready, later, raw = await here.managing.peek("jobs")
        assert (flying.body, flying.state, flying.attempts) == ({"a": 1}, MessageState.IN_FLIGHT, 1)
        assert (ready.body, ready.state, ready.attempts) == ("ready", MessageState.READY, 0)
        assert (later.state, later.due - later.timestamp) == (MessageState.DELAYED, 60)
        assert (raw.body, raw.content_type) == ("AA==", "bytes")
        assert len(await here.managing.peek("jobs", limit=2)) == 2


async def test_a_purge_deletes_all_and_what_is_under_way_does_not_come_again(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def fails_later(batch: MessageBatch) -> None:
        await release.wait()
        raise LookupError("no")

    settings = consuming(max_batch_size=1, max_concurrency=1, max_retries=0, dead_letter_queue="dead")
    async with bench(tmp_path, settings, handler=fails_later) as here:
        await here.send(1, 2, 3)
        await here.send(4, delay_seconds=5)
        assert await here.managing.purge("jobs") == 4
        release.set()
        await here.advance(60)
        assert here.batches == [[1]]
        assert (await here.left("jobs"), await here.left("dead")) == (0, 0)
        here.handler = nothing
        await here.send(5)
        assert here.batches == [[1], [5]]


async def test_a_paused_queue_delivers_when_it_is_resumed(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        await here.managing.pause("jobs")
        await here.send(1)
        await here.advance(60)
        assert here.batches == []
        await here.managing.resume("jobs")
        await here.quiet()
        assert here.batches == [[1]]


async def test_dead_letters_go_back_to_where_they_come_from_with_all_attempts_before_them(tmp_path: Path) -> None:
    each = ConsumerSettings(max_batch_timeout=0.0, max_retries=1, dead_letter_queue="dead")
    async with bench(tmp_path, settings_of({"jobs": each, "mails": each}), handler=raising) as here:
        await here.send("job")
        await here.producer("mails").send("mail")
        await here.quiet()
        assert await here.left("dead") == 2
        here.handler = nothing
        here.attempts.clear()
        assert await here.managing.retry_dead("dead") == {"jobs": 1, "mails": 1}
        await here.quiet()
        assert sorted(here.attempts) == [("job", 1), ("mail", 1)]
        assert [status.messages for status in await here.managing.statuses()] == [0, 0, 0]


async def test_dead_letters_go_where_they_are_told_to_and_no_more_than_that(tmp_path: Path) -> None:
    each = ConsumerSettings(max_batch_timeout=0.0, max_retries=0, dead_letter_queue="dead")
    async with bench(tmp_path, settings_of({"jobs": each}, ["other"]), handler=raising) as here:
        await here.send(*range(5))
        assert await here.managing.retry_dead("dead", to="other", limit=2) == {"other": 2}
        assert [int(message.body) for message in await here.broker.queue("other").first(0, 9)] == [0, 1]
        assert await here.left("dead") == 3
        with pytest.raises(QueueConflict):
            await here.managing.retry_dead("dead", to="dead")
        with pytest.raises(QueueNotFound):
            await here.managing.retry_dead("dead", to="nowhere")


async def test_messages_that_were_sent_to_a_dead_letter_queue_by_themselves_stay(tmp_path: Path) -> None:
    async with bench(tmp_path, settings_of({}, ["dead"])) as here:
        await here.managing.send("dead", {"hello": 1})
        assert await here.managing.retry_dead("dead") == {}
        assert await here.left("dead") == 1


async def test_an_operator_sends_to_queues_that_exist(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        await here.managing.send("jobs", [1, 2])
        await here.managing.send("jobs", "tea", content_type="text", delay_seconds=10)
        await here.advance(11)
        assert here.batches == [[[1, 2]], ["tea"]]
        with pytest.raises(QueueNotFound):
            await here.managing.send("jbos", 1)
        with pytest.raises(InvalidMessage):
            here.producer("no name")
