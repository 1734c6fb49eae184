"""Random histories of a queue, with crashes, against a plain model: a table of messages and what became of them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.queues import tables
from moorings.queues.batch import MessageBatch
from moorings.store import SqliteStore, Synchronous
from tests.unit.queues.support import Bench, consuming

T = TypeVar("T")

MAX_RETRIES = 2
LEASE = 1000.0
CONCURRENCY = 2
SETTINGS = consuming(
    max_batch_size=3, max_retries=MAX_RETRIES, dead_letter_queue="dead", max_concurrency=CONCURRENCY, lease=LEASE
)

which = st.integers(0, 5)


@dataclass
class Model:
    """One message. ``due`` is None while it is in flight."""

    number: int
    due: float | None
    attempts: int = 0
    end: str = ""
    purged: bool = False


@dataclass
class Delivery:
    """A batch whose handler has not ended. ``said`` has the decisions about messages, ``all`` that about the batch."""

    batch: MessageBatch
    started: float
    end: asyncio.Future[bool]
    said: dict[int, tuple[str, float]] = field(default_factory=dict)
    all: tuple[str, float] | None = None


class QueueMachine(RuleBasedStateMachine):
    """``messages`` is the model, by number."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="moorings-machine-"))
        self.clock = ManualClock()
        self.messages: dict[int, Model] = {}
        self.deliveries: list[Delivery] = []
        self.newest = 0
        self.run(self.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def open(self) -> None:
        store = await SqliteStore.open(
            self.folder, migrations=tables.MIGRATIONS, clock=self.clock, synchronous=Synchronous.OFF
        )
        self.bench = Bench(store, self.clock)
        self.bench.handler = self.handle
        await self.bench.broker.open(SETTINGS)
        self.bench.broker.start()

    async def handle(self, batch: MessageBatch) -> None:
        """What is delivered must be ready, as often tried as the model says, and for the first time in order."""
        for message in batch.messages:
            model = self.messages[message.body]
            assert not model.end, f"{model} was delivered after its end"
            assert model.due is not None, f"{model} is in flight already"
            assert model.due <= self.clock.time() + 0.01, f"{model} was delivered too early"
            assert message.attempts == model.attempts + 1 <= MAX_RETRIES + 1
            model.due, model.attempts = None, message.attempts
        delivery = Delivery(batch, self.clock.time(), self.loop.create_future())
        self.deliveries.append(delivery)
        if await delivery.end:
            raise LookupError("as the machine wants")

    async def quiet(self) -> None:
        for _ in range(4):
            await self.bench.store.flush()
            await self.clock.settle()

    # --- what may happen ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), delay=st.sampled_from([0.0, 0.0, 5.0]))
    def send(self, count: int, delay: float) -> None:
        numbers = range(self.newest + 1, self.newest + 1 + count)
        self.newest += count
        for number in numbers:
            self.messages[number] = Model(number, self.clock.time() + delay)
        self.run(self.bench.jobs.send_batch([{"body": number} for number in numbers], delay_seconds=delay))

    @precondition(lambda self: self.deliveries)
    @rule(which=which, index=which, what=st.sampled_from(["ack", "retry"]), delay=st.sampled_from([0.0, 7.0]))
    def say(self, which: int, index: int, what: str, delay: float) -> None:
        delivery = self.deliveries[which % len(self.deliveries)]
        message = delivery.batch.messages[index % len(delivery.batch.messages)]

        async def say() -> None:
            await (message.ack() if what == "ack" else message.retry(delay_seconds=delay))

        self.run(say())
        model = self.messages[message.body]
        if message.body not in delivery.said:
            delivery.said[message.body] = (what, delay)
            model.end = "acked" if what == "ack" else "purged" if model.purged else ""

    @precondition(lambda self: self.deliveries)
    @rule(which=which, what=st.sampled_from(["ack", "retry"]), delay=st.sampled_from([0.0, 7.0]))
    def say_of_all(self, which: int, what: str, delay: float) -> None:
        delivery = self.deliveries[which % len(self.deliveries)]

        async def say() -> None:
            await (delivery.batch.ack_all() if what == "ack" else delivery.batch.retry_all(delay_seconds=delay))

        self.run(say())
        if delivery.all is None:
            delivery.all = (what, delay)
            for message in delivery.batch.messages:
                if what == "ack" and message.body not in delivery.said:
                    self.messages[message.body].end = "acked"

    @precondition(lambda self: self.deliveries)
    @rule(which=which, raises=st.booleans())
    def end(self, which: int, raises: bool) -> None:
        delivery = self.deliveries.pop(which % len(self.deliveries))
        self.settle(delivery, self.clock.time(), raises)
        delivery.end.set_result(raises)

    def settle(self, delivery: Delivery, now: float, raised: bool) -> None:
        """What the end of a handler means for the model."""
        for message in delivery.batch.messages:
            what, delay = delivery.said.get(message.body) or delivery.all or ("retry" if raised else "ack", 0.0)
            model = self.messages[message.body]
            if what == "ack" or model.purged:
                model.end = model.end or "acked"
            elif model.attempts > MAX_RETRIES:
                model.end = "dead"
            else:
                model.due = now + delay

    @rule(seconds=st.sampled_from([1.0, 6.0, 8.0]))
    def let_time_go_by(self, seconds: float) -> None:
        self.run(self.quiet())
        for delivery in [each for each in self.deliveries if each.started + LEASE <= self.clock.time() + seconds]:
            self.time_is_over(delivery)
        self.run(self.clock.advance(seconds))

    @precondition(lambda self: self.deliveries)
    @rule()
    def let_every_lease_end(self) -> None:
        self.run(self.quiet())
        for delivery in list(self.deliveries):
            self.time_is_over(delivery)
        self.run(self.clock.advance(LEASE))

    def time_is_over(self, delivery: Delivery) -> None:
        self.deliveries.remove(delivery)
        self.settle(delivery, delivery.started + LEASE, True)

    @rule(late=st.booleans())
    def crash(self, late: bool) -> None:
        """The platform is killed; perhaps right after an acknowledgement, which is lost then."""

        async def crash() -> None:
            if late and self.deliveries:
                message = self.deliveries[0].batch.messages[0]
                if not self.messages[message.body].end:
                    message.ack()
            journal = self.bench.store._journal
            journal._batch.clear()
            journal._closed = StoreError("killed")
            await self.bench.broker.close()
            await self.bench.store.close()

        self.run(crash())
        self.deliveries.clear()
        for model in self.messages.values():
            if not model.end and model.due is None:
                model.due = self.clock.time()
        self.run(self.open())

    @rule()
    def purge(self) -> None:
        self.run(self.bench.managing.purge("jobs"))
        for model in self.messages.values():
            model.end = model.end or "purged"
            model.purged = True

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        dead = self.dead_letters()
        stored = {int(each.body) for each in self.run(self.bench.broker.queue("jobs").first(0, 10_000))}
        assert stored == {number for number, model in self.messages.items() if not model.end}
        assert dead == sorted(number for number, model in self.messages.items() if model.end == "dead")

    def dead_letters(self) -> list[int]:
        """The numbers in the dead-letter queue, in order; the model learns of those that it couldn't foresee."""
        self.run(self.quiet())
        dead = sorted(int(each.body) for each in self.run(self.bench.broker.queue("dead").first(0, 10_000)))
        for number in dead:  # a message whose last attempt a crash cut off is buried when its turn comes
            if self.messages[number].attempts > MAX_RETRIES and not self.messages[number].end:
                self.messages[number].end = "dead"
        return dead

    @invariant()
    def nothing_waits_that_could_be_delivered(self) -> None:
        self.dead_letters()
        if len(self.deliveries) < CONCURRENCY:
            now = self.clock.time()
            waiting = [m for m in self.messages.values() if not m.end and m.due is not None and m.due <= now - 0.01]
            assert not waiting, f"{waiting} are ready, and {len(self.deliveries)} batches are under way"

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.run(self.bench.broker.close())
            self.run(self.bench.store.close())
            self.loop.close()
            shutil.rmtree(self.folder)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
