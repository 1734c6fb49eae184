"""Pull consumers: leases, their ends, and what outlives the platform."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moorings.clock import ManualClock
from moorings.errors import InvalidMessage, QueueConflict, QueueNotFound
from moorings.queues.settings import ConsumerKind, ConsumerSettings, QueueSettings
from tests.unit.queues.support import Bench, bench, consuming, settings_of


def pulling(**settings: object) -> QueueSettings:
    """A queue whose messages are pulled."""
    values = {"kind": ConsumerKind.HTTP_PULL, "lease": 30.0, **settings}
    return QueueSettings(consumers={"jobs": ConsumerSettings(**values)})  # type: ignore[arg-type]


async def pull(here: Bench, count: int = 10, timeout: float | None = None) -> dict[str, str]:
    """Leases by body."""
    pulled = await here.pulling.pull("jobs", batch_size=count, visibility_timeout=timeout)
    return {message.body.decode(): lease for lease, message in pulled.messages}


async def test_messages_are_pulled_in_order_and_hidden_until_they_are_acknowledged(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling()) as here:
        await here.send(1, 2, 3)
        leases = await pull(here, 2)
        assert list(leases) == ["1", "2"]
        assert list(await pull(here)) == ["3"]
        answered = await here.pulling.answer("jobs", acks=[leases["1"]], retries=[(leases["2"], None)])
        assert (answered.acked, answered.retried, answered.warnings) == (1, 1, ())
        assert list(await pull(here)) == ["2"]
        assert await here.left() == 2


async def test_a_lease_that_nobody_answers_ends_and_its_message_comes_again(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling()) as here:
        await here.send("x")
        first = await here.pulling.pull("jobs")
        await here.advance(29)
        assert await pull(here) == {}
        await here.advance(2)
        second = await here.pulling.pull("jobs")
        assert [message.attempts for _, message in (*first.messages, *second.messages)] == [1, 2]
        late = await here.pulling.answer("jobs", acks=[first.messages[0][0]], retries=[])
        assert late.acked == 0
        assert "is not held" in late.warnings[0]
        assert await here.left() == 1


async def test_a_lease_outlives_the_platform(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, pulling(), clock=clock) as first:
        await first.send("x", "y")
        leases = await pull(first)
    async with bench(tmp_path, pulling(), clock=clock) as second:
        assert await pull(second) == {}
        assert (await second.pulling.answer("jobs", acks=[leases['"x"']], retries=[])).acked == 1
        await second.advance(31)
        assert list(await pull(second)) == ['"y"']


async def test_what_was_pulled_in_vain_goes_to_the_dead_letter_queue(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling(max_retries=1, dead_letter_queue="dead")) as here:
        await here.send("expires", "retried")
        for _ in range(2):
            leases = await pull(here)
            assert sorted(leases) == ['"expires"', '"retried"']
            await here.pulling.answer("jobs", acks=[], retries=[(leases['"retried"'], None)])
            await here.advance(31)
        assert await pull(here) == {}
        assert (await here.left("jobs"), await here.left("dead")) == (0, 2)


async def test_a_last_lease_that_ended_is_buried_without_another_pull(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling(max_retries=0, dead_letter_queue="dead")) as here:
        await here.send("x")
        await pull(here)
        await here.advance(100)
        assert (await here.left("jobs"), await here.left("dead")) == (0, 1)


async def test_a_retry_may_be_delayed(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling(retry_delay=20.0)) as here:
        await here.send(1, 2)
        leases = await pull(here)
        await here.pulling.answer("jobs", acks=[], retries=[(leases["1"], None), (leases["2"], 5)])
        await here.advance(6)
        assert list(await pull(here)) == ["2"]
        await here.advance(15)
        assert list(await pull(here)) == ["1"]


async def test_leases_are_of_their_pull_alone(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling()) as here:
        await here.send(1)
        lease = (await pull(here))["1"]
        forged = [lease[:-1] + ("0" if lease[-1] != "0" else "1"), "2-" + lease[2:], "nonsense", ""]
        answered = await here.pulling.answer("jobs", acks=[*forged, lease, lease], retries=[(lease, None)])
        assert (answered.acked, answered.retried, len(answered.warnings)) == (1, 0, 6)


async def test_a_paused_queue_gives_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling()) as here:
        await here.send(1)
        await here.managing.pause("jobs")
        pulled = await here.pulling.pull("jobs")
        assert (pulled.messages, pulled.backlog) == ((), 1)
        await here.managing.resume("jobs")
        assert list(await pull(here)) == ["1"]


async def test_what_cannot_be_pulled_says_why(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        with pytest.raises(QueueConflict, match="http_pull"):
            await pull(here)
        with pytest.raises(QueueNotFound, match="those there are: jobs"):
            await here.pulling.pull("other")
    async with bench(tmp_path, pulling()) as here:
        for count, timeout in ((0, None), (101, None), (1, 0.0), (1, 43_201.0)):
            with pytest.raises(InvalidMessage):
                await pull(here, count, timeout)


async def test_a_queue_without_a_consumer_can_be_pulled(tmp_path: Path) -> None:
    async with bench(tmp_path, settings_of({}, ["jobs"])) as here:
        await here.send(1)
        assert list(await pull(here)) == ["1"]


async def test_what_expired_does_not_stand_in_the_way(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling()) as here:
        await here.send(*range(50))
        await here.clock.advance(30)
        await here.quiet()
        here.clock._now += 345_600  # the platform was asleep: no sweep has been
        await here.send("young")
        assert list(await pull(here, 5)) == ['"young"']


async def test_answers_and_burials_at_the_same_time_count_once(tmp_path: Path) -> None:
    async with bench(tmp_path, pulling(max_retries=0, dead_letter_queue="dead")) as here:
        await here.send(1, 2)
        leases = await pull(here)
        retry = [(leases["1"], None)]
        answers = await asyncio.gather(*(here.pulling.answer("jobs", acks=[], retries=retry) for _ in range(3)))
        assert sorted(answered.retried for answered in answers) == [0, 0, 1]
        await here.clock.advance(31)
        await asyncio.gather(*(here.broker.sweep() for _ in range(3)), pull(here))
        assert (await here.left("jobs"), await here.left("dead")) == (0, 2)


async def test_a_worker_that_consumes_again_gets_nothing_that_was_pulled_meanwhile(tmp_path: Path) -> None:
    async with bench(tmp_path, consuming()) as here:
        await here.managing.pause("jobs")
        await here.send(1, 2)
        here.broker.use(pulling())
        await here.managing.resume("jobs")
        leases = await pull(here, 1)
        await here.pulling.answer("jobs", acks=list(leases.values()), retries=[])
        here.broker.use(consuming())
        await here.quiet()
        assert here.batches == [[2]]
