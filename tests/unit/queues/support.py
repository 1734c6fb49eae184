"""A broker on a real store with a clock that stands still, and a worker that does what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moorings.clock import ManualClock
from moorings.observer import ErrorReported, Notice, Recorder
from moorings.queues import tables
from moorings.queues.batch import MessageBatch
from moorings.queues.broker import Broker
from moorings.queues.managing import Managing
from moorings.queues.producer import Queue
from moorings.queues.pulling import Pulling
from moorings.queues.settings import ConsumerSettings, ProducerSettings, QueueSettings
from moorings.store import SqliteStore, Synchronous

Handler = Callable[[MessageBatch], Awaitable[None]]


class Bench:
    """One run of the broker on a folder. ``batches`` has what was delivered: the bodies, batch by batch."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.recorder = Recorder()
        self.batches: list[list[Any]] = []
        self.attempts: list[tuple[Any, int]] = []
        self.handler: Handler = nothing
        self.broker = Broker(store, clock=clock, observer=self.recorder, deliver=self._deliver)
        self.pulling = Pulling(self.broker)
        self.managing = Managing(self.broker)

    async def _deliver(self, batch: MessageBatch) -> None:
        self.batches.append([message.body for message in batch.messages])
        self.attempts += [(message.body, message.attempts) for message in batch.messages]
        await self.handler(batch)

    @property
    def jobs(self) -> Queue:
        """The producer of the queue ``jobs``."""
        return self.producer("jobs")

    def producer(self, name: str, delivery_delay: float = 0.0) -> Queue:
        """A producer of a queue."""
        return self.broker.bindings(QueueSettings({"Q": ProducerSettings(name, delivery_delay)}))["Q"]

    async def send(self, *bodies: Any, delay_seconds: float | None = None) -> None:
        """Send messages to ``jobs``, together, and let what follows happen."""
        for start in range(0, len(bodies), 100):
            await self.jobs.send_batch(
                [{"body": body} for body in bodies[start : start + 100]], delay_seconds=delay_seconds
            )
        await self.quiet()

    async def quiet(self) -> None:
        """Let everything happen that happens without time going by."""
        for _ in range(12):
            await self.store.flush()
            await self.clock.settle()

    async def advance(self, seconds: float) -> None:
        """Let time go by, and everything happen that happens then."""
        await self.quiet()
        await self.clock.advance(seconds)
        await self.quiet()

    async def left(self, name: str = "jobs") -> int:
        """How many messages a queue has."""
        return await self.broker.queue(name).count()

    @property
    def errors(self) -> list[str]:
        """The errors that were reported."""
        return [str(event.error) for event in self.recorder.events if isinstance(event, ErrorReported)]

    @property
    def notices(self) -> list[str]:
        """The notices that were told."""
        return [event.message for event in self.recorder.events if isinstance(event, Notice)]


async def nothing(batch: MessageBatch) -> None:
    """A handler that says nothing."""


async def raising(batch: MessageBatch) -> None:
    """A handler that fails."""
    raise LookupError("no")


def consuming(queue: str = "jobs", **settings: Any) -> QueueSettings:
    """Settings with one queue that the worker consumes."""
    return QueueSettings(consumers={queue: ConsumerSettings(**{"max_batch_timeout": 0.0, **settings})})


def settings_of(consumers: Mapping[str, ConsumerSettings], names: Sequence[str] = ()) -> QueueSettings:
    """Settings with several consumers, and queues that are only named."""
    return QueueSettings({f"Q{i}": ProducerSettings(name) for i, name in enumerate(names)}, consumers)


@asynccontextmanager
async def bench(
    folder: Path, settings: QueueSettings, *, handler: Handler = nothing, clock: ManualClock | None = None
) -> AsyncIterator[Bench]:
    """A broker that runs."""
    clock = clock or ManualClock()
    store = await SqliteStore.open(folder, migrations=tables.MIGRATIONS, clock=clock, synchronous=Synchronous.OFF)
    running = Bench(store, clock)
    running.handler = handler
    try:
        await running.broker.open(settings)
        running.broker.start()
        await running.quiet()
        yield running
    finally:
        await running.broker.close()
        await store.close()
