"""What an operator does to queues: look, send, pause, purge, and try dead letters again."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from moorings.errors import QueueConflict, QueueNotFound
from moorings.queues.bodies import ContentType, content_type_of, decode, encode
from moorings.queues.broker import Broker
from moorings.queues.limits import checked_delay
from moorings.queues.message import StoredMessage
from moorings.queues.stored_queue import StoredQueue

_CHUNK: Final = 100


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A queue as ``moorings queue ls`` shows it.

    ``messages`` counts all; ``delayed`` those that wait for their time, ``in_flight`` those that are being delivered or
    were pulled. ``consumer`` is "worker", "http_pull" or None; ``oldest`` is in Unix seconds.
    """

    name: str
    messages: int
    delayed: int
    in_flight: int
    paused: bool
    consumer: str | None
    dead_letter_queue: str | None
    oldest: float | None


class MessageState(StrEnum):
    """Where a message is."""

    READY = "ready"
    DELAYED = "delayed"
    IN_FLIGHT = "in flight"


@dataclass(frozen=True, slots=True)
class PeekedMessage:
    """A message that was looked at, and not taken. Times are in Unix seconds; ``due`` is 0 where there is no delay.

    ``body`` is the JSON value or the text, of content type "bytes" base64. ``source`` is the queue of a dead letter.
    """

    id: str
    state: MessageState
    timestamp: float
    due: float
    attempts: int
    content_type: str
    body: Any
    source: str | None


class Managing:
    """The operations on a broker's queues. All raise QueueNotFound for a queue that isn't there, and StoreError."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def statuses(self) -> list[QueueStatus]:
        """Every queue, by name."""
        return [await self._status(self._broker.queues[name]) for name in sorted(self._broker.queues)]

    async def _status(self, queue: StoredQueue) -> QueueStatus:
        now = self._broker.clock.time()
        settings = self._broker.consumer_settings(queue.name)
        return QueueStatus(
            name=queue.name,
            messages=await queue.count(),
            delayed=await queue.count_delayed(now),
            in_flight=await queue.count_leased(now) + len(self._in_flight(queue)),
            paused=queue.paused,
            consumer=None if settings is None else settings.kind.value,
            dead_letter_queue=None if settings is None else settings.dead_letter_queue,
            oldest=await queue.oldest(),
        )

    def _in_flight(self, queue: StoredQueue) -> set[int]:
        consumer = self._broker.consumer(queue.name)
        return set() if consumer is None else consumer.window.in_flight

    async def peek(self, name: str, *, limit: int = 10) -> list[PeekedMessage]:
        """The first messages of a queue, whatever state they are in; none is taken or counted."""
        queue = self._broker.queue(name)
        now = self._broker.clock.time()
        held = self._in_flight(queue)
        found = await queue.first(0, limit)
        return [_peeked(message, now, held) for message in found if message.seq not in queue.leaving]

    async def send(
        self, name: str, body: Any, *, content_type: str = ContentType.JSON, delay_seconds: float | None = None
    ) -> None:
        """Send a message as a worker would. Raises what ``Queue.send`` raises."""
        queue = self._broker.queue(name)
        kind = content_type_of(content_type)
        delay = checked_delay(delay_seconds)
        if delay is None:
            producers = self._broker.settings.producers.values()
            delay = next((each.delivery_delay for each in producers if each.queue == name), 0.0)
        await queue.send(((kind, encode(body, kind), delay),), self._broker.clock.time())

    async def pause(self, name: str) -> None:
        """Deliver no more of a queue's messages, by push or pull; it goes on taking them. Outlasts restarts."""
        await self._broker.queue(name).set_paused(True)

    async def resume(self, name: str) -> None:
        """Deliver a queue's messages again."""
        await self._broker.queue(name).set_paused(False)
        consumer = self._broker.consumer(name)
        if consumer is not None:
            consumer.dispatch()

    async def purge(self, name: str) -> int:
        """Delete all messages of a queue; those in flight are not delivered again. Returns how many there were."""
        queue = self._broker.queue(name)
        count = await queue.count()
        through, deleted = queue.purge()
        consumer = self._broker.consumer(name)
        if consumer is not None:
            consumer.purged(through)
        await deleted
        return count

    async def retry_dead(self, name: str, *, to: str | None = None, limit: int | None = None) -> dict[str, int]:
        """Send dead letters back to the queues that they come from, or all of them to the queue ``to``.

        They are delivered as new ones are. ``limit`` bounds how many, the oldest first. Those that don't say where they
        come from stay, unless ``to`` is given, and so do those in flight. Returns how many went to each queue. Raises
        QueueNotFound, also where a message's own queue is gone, and QueueConflict where ``to`` is the queue itself.
        """
        queue = self._broker.queue(name)
        if to == name:
            raise QueueConflict(f"{name} is the queue that the dead letters are in; name the one they should go to")
        target = None if to is None else self._broker.queue(to)
        moved: Counter[str] = Counter()
        after, last = 0, queue.last_seq  # what comes meanwhile stays
        while limit is None or moved.total() < limit:
            room = _CHUNK if limit is None else min(_CHUNK, limit - moved.total())
            found = [message for message in await queue.first(after, room) if message.seq <= last]
            if not found:
                break
            after = found[-1].seq
            held = self._in_flight(queue) | queue.leaving
            free = [message for message in found if message.seq not in held]
            moved += self._move_back(queue, free, target)
            if (pending := queue.pending()) is not None:
                await pending
        return dict(moved)

    def _move_back(
        self, queue: StoredQueue, messages: Iterable[StoredMessage], target: StoredQueue | None
    ) -> Counter[str]:
        by_queue: dict[str, list[StoredMessage]] = {}
        for message in messages:
            where = target.name if target is not None else message.source
            if where is not None:
                by_queue.setdefault(where, []).append(message)
        unknown = by_queue.keys() - self._broker.queues.keys()
        if unknown:
            raise QueueNotFound(f"the queue {min(unknown)!r} that dead letters come from is gone; name another")
        consumer = self._broker.consumer(queue.name)
        for where, group in by_queue.items():
            if consumer is not None:
                consumer.window.withdraw(message.seq for message in group)
            queue.move_back(group, self._broker.queues[where], now=self._broker.clock.time())
        return Counter({where: len(group) for where, group in by_queue.items()})


def _peeked(message: StoredMessage, now: float, held: set[int]) -> PeekedMessage:
    if message.seq in held or (message.lease is not None and message.due > now):
        state = MessageState.IN_FLIGHT
    else:
        state = MessageState.DELAYED if message.due > now else MessageState.READY
    body = decode(message.body, message.content_type)
    return PeekedMessage(
        id=message.id,
        state=state,
        timestamp=message.sent_at,
        due=message.due,
        attempts=message.attempts,
        content_type=message.content_type.value,
        body=base64.b64encode(body).decode() if message.content_type is ContentType.BYTES else body,
        source=message.source,
    )
