"""Random histories of a queue that is pulled, with restarts, against a plain model: who holds what, how long."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moorings.clock import ManualClock
from moorings.queues import tables
from moorings.queues.settings import ConsumerKind, ConsumerSettings, QueueSettings
from moorings.store import SqliteStore, Synchronous
from tests.unit.queues.support import Bench

T = TypeVar("T")

MAX_RETRIES = 2
SETTINGS = QueueSettings(
    consumers={
        "jobs": ConsumerSettings(
            ConsumerKind.HTTP_PULL, max_retries=MAX_RETRIES, dead_letter_queue="dead", retry_delay=3.0
        )
    }
)

some = st.integers(0, 20)


@dataclass
class Model:
    """One message. It is hidden until ``due``; ``lease`` is the last one that was given for it, while it holds."""

    due: float
    attempts: int = 0
    lease: str = ""
    end: str = ""


class PullMachine(RuleBasedStateMachine):
    """``messages`` is the model, by number; ``leases`` has every lease that was ever given, with its message."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="moorings-machine-"))
        self.clock = ManualClock()
        self.messages: dict[int, Model] = {}
        self.leases: list[tuple[str, int]] = []
        self.run(self.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def open(self) -> None:
        store = await SqliteStore.open(
            self.folder, migrations=tables.MIGRATIONS, clock=self.clock, synchronous=Synchronous.OFF
        )
        self.bench = Bench(store, self.clock)
        await self.bench.broker.open(SETTINGS)
        self.bench.broker.start()

    async def close(self) -> None:
        await self.bench.broker.close()
        await self.bench.store.close()

    @rule(count=st.integers(1, 4), delay=st.sampled_from([0.0, 0.0, 5.0]))
    def send(self, count: int, delay: float) -> None:
        numbers = range(len(self.messages), len(self.messages) + count)
        self.messages |= {number: Model(self.clock.time() + delay if delay else 0.0) for number in numbers}
        self.run(self.bench.jobs.send_batch([{"body": number} for number in numbers], delay_seconds=delay))

    @rule(count=st.integers(1, 5), timeout=st.sampled_from([4.0, 30.0]))
    def pull(self, count: int, timeout: float) -> None:
        now = self.clock.time()
        free = {n for n, model in self.messages.items() if not model.end and model.due <= now}
        alive = {number for number in free if self.messages[number].attempts <= MAX_RETRIES}
        pulled = self.run(self.bench.pulling.pull("jobs", batch_size=count, visibility_timeout=timeout))
        numbers = [int(message.body) for _, message in pulled.messages]
        assert len(numbers) == len(set(numbers)) == min(count, len(alive))
        fresh = [number for number in numbers if self.messages[number].due == 0.0]
        assert fresh == sorted(fresh)
        for lease, message in pulled.messages:
            model = self.messages[int(message.body)]
            assert int(message.body) in alive
            model.attempts += 1
            assert message.attempts == model.attempts
            model.due, model.lease = now + timeout, lease
            self.leases.append((lease, int(message.body)))

    @precondition(lambda self: self.leases)
    @rule(which=some, delay=st.sampled_from([None, 0.0, 7.0]), acks=st.booleans())
    def answer(self, which: int, delay: float | None, acks: bool) -> None:
        lease, number = self.leases[which % len(self.leases)]
        model = self.messages[number]
        self.learn_of_the_dead()
        held = model.lease == lease and not model.end
        answered = self.run(
            self.bench.pulling.answer("jobs", acks=[lease] if acks else [], retries=[] if acks else [(lease, delay)])
        )
        assert (answered.acked, answered.retried) == (int(held and acks), int(held and not acks))
        assert len(answered.warnings) == int(not held)
        if held and acks:
            model.end = "acked"
        elif held and model.attempts > MAX_RETRIES:
            model.end = "dead"
        elif held:
            model.due, model.lease = self.clock.time() + (3.0 if delay is None else delay), ""

    @rule(seconds=st.sampled_from([1.0, 4.0, 31.0, 61.0]))
    def let_time_go_by(self, seconds: float) -> None:
        self.run(self.bench.advance(seconds))

    @rule()
    def restart(self) -> None:
        self.run(self.close())
        self.run(self.open())

    def learn_of_the_dead(self) -> list[int]:
        """A lease that ended for the last time is buried by the next pull or sweep."""
        dead = sorted(int(each.body) for each in self.run(self.bench.broker.queue("dead").first(0, 10_000)))
        for number in dead:
            model = self.messages[number]
            if not model.end and model.attempts > MAX_RETRIES and model.due <= self.clock.time():
                model.end = "dead"
        return dead

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        dead = self.learn_of_the_dead()
        assert dead == sorted(number for number, model in self.messages.items() if model.end == "dead")
        stored = {int(each.body) for each in self.run(self.bench.broker.queue("jobs").first(0, 10_000))}
        assert stored == {number for number, model in self.messages.items() if not model.end}

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(self.close())
            self.loop.close()
            shutil.rmtree(self.folder)


TestPullMachine = PullMachine.TestCase
TestPullMachine.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
