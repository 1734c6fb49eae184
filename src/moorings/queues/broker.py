"""All queues of a platform: which there are, who delivers them, and what is done to them from outside.

Queues are rows; a queue that nobody sends to or consumes costs one small object. Names come from the configuration
(producers, consumers, dead-letter queues); a queue that is no longer named keeps its messages.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import InvalidMessage, QueueNotFound, StoreError
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Notice, Observer
from moorings.queues import tables
from moorings.queues.batch import MessageBatch
from moorings.queues.consumer import PushConsumer
from moorings.queues.limits import NAME_LENGTH
from moorings.queues.message import StoredMessage
from moorings.queues.producer import Queue
from moorings.queues.settings import ConsumerKind, ConsumerSettings, QueueSettings
from moorings.queues.stored_queue import StoredQueue
from moorings.store import Store

SWEEP: Final = 60.0
"""Seconds between two looks for messages that are too old, or were pulled for the last time and not acknowledged."""

_BURIED_AT_ONCE: Final = 100
_PULLED: Final = ConsumerSettings(ConsumerKind.HTTP_PULL)


class Broker:
    """``open`` it, ``start`` it once the worker can be called, ``use`` settings any number of times, ``close`` it."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        observer: Observer,
        deliver: Callable[[MessageBatch], Awaitable[None]],
    ) -> None:
        """``store`` has ``tables.MIGRATIONS`` applied; ``deliver(batch)`` calls the worker's ``queue``."""
        self._store = store
        self._observer = observer
        self._deliver = deliver
        self._ids = count(1)
        self._id_prefix = secrets.token_hex(8)
        self._consumers: dict[str, PushConsumer] = {}
        self._tasks = Tasks(lambda where, error: observer.notify(ErrorReported(where, error)))
        self._sweeper: TimerHandle | None = None
        self._started = False
        self.clock = clock
        self.settings = QueueSettings()
        self.queues: dict[str, StoredQueue] = {}

    # --- its life -----------------------------------------------------------------------------------------------------

    async def open(self, settings: QueueSettings) -> None:
        """Find the queues that there are, and add those that the settings name. Raises StoreError."""
        for name, created_at, paused in await self._store.read(tables.QUEUES):
            [(last_seq,)] = await self._store.read(tables.LAST_SEQ, (name,))
            self._add(name, created_at=created_at, exists=True, paused=bool(paused), last_seq=last_seq or 0)
        self.use(settings)

    def start(self) -> None:
        """Begin to deliver."""
        self._started = True
        self._sweeper = self.clock.call_later(SWEEP, self._sweep)
        self.use(self.settings)

    def use(self, settings: QueueSettings) -> None:
        """Go by these settings from now on. Batches under way end by those that they began with. Raises StoreError."""
        self.settings = settings
        for name in sorted(settings.names):
            self.demand(name).create()
        if not self._started:
            return
        pushed = {name: each for name, each in settings.consumers.items() if each.kind is ConsumerKind.WORKER}
        for name, consumer in self._consumers.items():
            if name not in pushed:
                consumer.retire()
        for name, each in pushed.items():
            known = self._consumers.get(name)
            if known is not None:
                known.use(each, settings.retention_of(name))
            else:
                known = self._consumers[name] = self._consumer(self.queues[name], each)
            known.start()

    def _consumer(self, queue: StoredQueue, settings: ConsumerSettings) -> PushConsumer:
        return PushConsumer(
            queue,
            settings,
            clock=self.clock,
            observer=self._observer,
            deliver=self._deliver,
            bury=self.bury,
            retention=self.settings.retention_of(queue.name),
        )

    def halt(self) -> None:
        """Begin no more deliveries; those under way go on, and messages can still be sent."""
        self._started = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        for consumer in self._consumers.values():
            consumer.halt()

    async def settled(self) -> None:
        """Wait until no delivery is under way. After ``halt``."""
        await asyncio.gather(*(consumer.settled() for consumer in self._consumers.values()))

    async def close(self) -> None:
        """Cancel the deliveries that are under way: their messages come again."""
        self.halt()
        await asyncio.gather(self._tasks.close(), *(consumer.close() for consumer in self._consumers.values()))

    # --- queues -------------------------------------------------------------------------------------------------------

    def bindings(self, settings: QueueSettings) -> dict[str, Queue]:
        """What stands in ``env`` for the producers."""
        return {
            binding: Queue(self.demand(producer.queue), producer.delivery_delay, self.clock)
            for binding, producer in settings.producers.items()
        }

    def demand(self, name: str) -> StoredQueue:
        """The queue of that name, which comes into being with its first message. Raises InvalidMessage."""
        queue = self.queues.get(name)
        if queue is None:
            check_name(name)
            queue = self._add(name, created_at=self.clock.time(), exists=False, paused=False, last_seq=0)
        return queue

    def queue(self, name: str) -> StoredQueue:
        """The queue of that name. Raises QueueNotFound."""
        queue = self.queues.get(name)
        if queue is None:
            known = ", ".join(sorted(self.queues)) or "none; name one in queues.producers of the configuration"
            raise QueueNotFound(f"there is no queue {name!r}; those there are: {known}")
        return queue

    def consumer(self, name: str) -> PushConsumer | None:
        """Who delivers the queue to the worker, or did before the last reload."""
        return self._consumers.get(name)

    def consumer_settings(self, name: str) -> ConsumerSettings | None:
        """What the configuration says of a queue's consumer."""
        return self.settings.consumers.get(name)

    def _add(self, name: str, *, created_at: float, exists: bool, paused: bool, last_seq: int) -> StoredQueue:
        queue = self.queues[name] = StoredQueue(
            self._store,
            name,
            created_at=created_at,
            exists=exists,
            paused=paused,
            last_seq=last_seq,
            make_id=self._make_id,
            failed=lambda error: self._observer.notify(ErrorReported(f"queue {name}", error)),
        )
        return queue

    def _make_id(self) -> str:
        return f"{self._id_prefix}{next(self._ids):016x}"

    # --- the end of messages ------------------------------------------------------------------------------------------

    def bury(self, queue: StoredQueue, messages: Sequence[StoredMessage], settings: ConsumerSettings) -> None:
        """Take messages out of a queue that were retried in vain: to its dead-letter queue, or for good, with a notice.

        Raises StoreError.
        """
        if settings.dead_letter_queue is not None:
            queue.move(messages, self.demand(settings.dead_letter_queue), now=self.clock.time())
            went = f"{len(messages)} message{' was' if len(messages) == 1 else 's were'} retried in vain"
            self._observer.notify(
                Notice("info", f"queue {queue.name}: {went}, and went to {settings.dead_letter_queue}")
            )
            return
        queue.delete([message.seq for message in messages])
        for message in messages:
            notice = f"queue {queue.name}: message {message.id} was dropped after {message.attempts} attempts"
            self._observer.notify(Notice("warning", f"{notice}; the queue has no dead_letter_queue"))

    def _sweep(self) -> None:
        self._sweeper = self.clock.call_later(SWEEP, self._sweep)
        self._tasks.spawn("queues", self.sweep())

    async def sweep(self) -> None:
        """Delete messages that are older than their queue keeps them, and bury those that were pulled in vain."""
        for name, queue in list(self.queues.items()):
            await asyncio.sleep(0)  # other work goes on between two queues, however many there are
            try:
                sent_until = self.clock.time() - self.settings.retention_of(name)
                oldest = await queue.oldest()
                if oldest is not None and oldest <= sent_until:
                    queue.expire(sent_until)
                await self.bury_overdrawn(queue)
            except StoreError as error:
                self._observer.notify(ErrorReported(f"queue {name}", error))

    async def bury_overdrawn(self, queue: StoredQueue) -> None:
        """Bury messages that were pulled for the last time, and not acknowledged in time. Raises StoreError."""
        settings = self.consumer_settings(queue.name) or _PULLED
        while True:
            found = await queue.overdrawn(self.clock.time(), settings.max_retries, _BURIED_AT_ONCE)
            dead = [message for message in found if message.seq not in queue.leaving]
            if not dead:
                return
            self.bury(queue, dead, settings)
            if (pending := queue.pending()) is not None:
                await pending


def check_name(name: str) -> None:
    """Raises InvalidMessage for what is no name of a queue."""
    if not name or len(name) > NAME_LENGTH or not all(c.isalnum() or c in "-_." for c in name):
        raise InvalidMessage(
            f"{name!r:.80} is no name for a queue: write 1 to {NAME_LENGTH} letters, digits, '-', '_' and '.'"
        )
