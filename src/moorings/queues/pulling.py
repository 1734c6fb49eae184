"""Pull consumers: whoever asks for messages gets them for a while, and says what becomes of them.

A pull counts one more attempt of each message and hides it under a token, both durable before the messages are handed
out; so a lease outlives the platform. It is over when it is acknowledged or retried, or when its time is: then the
message is there for the next pull, or, where it was the last of its attempts, in the dead-letter queue.
Source: developers.cloudflare.com/queues/configuration/pull-consumers/
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from moorings.errors import InvalidMessage, QueueConflict
from moorings.queues.broker import Broker
from moorings.queues.limits import BATCH_MESSAGES, LONGEST_DELAY, checked_delay
from moorings.queues.message import StoredMessage
from moorings.queues.settings import VISIBILITY_TIMEOUT, ConsumerKind, ConsumerSettings
from moorings.queues.stored_queue import StoredQueue

BATCH_SIZE: Final = 5
"""Messages of a pull that doesn't say how many (Cloudflare: the same)."""

_LONG: Final = 10_000
_LEASE: Final = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})")
_DEFAULT: Final = ConsumerSettings(ConsumerKind.HTTP_PULL, lease=VISIBILITY_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Pulled:
    """Messages of a pull with their leases, and how many messages the queue has in all."""

    messages: tuple[tuple[str, StoredMessage], ...]
    backlog: int


@dataclass(frozen=True, slots=True)
class Answered:
    """How many leases were acknowledged and retried; ``warnings`` has a sentence for each that was not known."""

    acked: int
    retried: int
    warnings: tuple[str, ...]


class Pulling:
    """Leases of messages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._leasing: dict[str, set[int]] = {}
        self._counted: dict[str, tuple[float, int]] = {}

    async def pull(self, name: str, *, batch_size: int = BATCH_SIZE, visibility_timeout: float | None = None) -> Pulled:
        """Lease up to ``batch_size`` messages for so many seconds; none where delivery is paused.

        Raises QueueNotFound, QueueConflict, InvalidMessage, StoreError.
        """
        queue = self._broker.queue(name)
        settings = self._settings(name)
        if not 1 <= batch_size <= BATCH_MESSAGES:
            raise InvalidMessage(f"batch_size is from 1 to {BATCH_MESSAGES}, not {batch_size}")
        period = settings.lease if visibility_timeout is None else visibility_timeout
        if not 0 < period <= LONGEST_DELAY:
            raise InvalidMessage(f"visibility_timeout_ms is from 1 to {LONGEST_DELAY * 1000:,} (12 hours)")
        if queue.paused:
            return Pulled((), await self._backlog(queue))
        leasing = self._leasing.setdefault(name, set())
        messages = await self._ready(queue, batch_size, settings, leasing)
        token = secrets.token_hex(16)
        if messages:
            seqs = [message.seq for message in messages]
            leasing.update(seqs)
            try:
                await queue.lease(seqs, until=self._broker.clock.time() + period, token=token)
            finally:
                leasing.difference_update(seqs)
            for message in messages:
                message.attempts += 1
        return Pulled(tuple((f"{message.seq}-{token}", message) for message in messages), await self._backlog(queue))

    async def answer(self, name: str, *, acks: Sequence[str], retries: Sequence[tuple[str, float | None]]) -> Answered:
        """End leases: ``acks`` for good, ``retries`` with a delay in seconds (None: the queue's ``retry_delay``).

        A lease whose time is over holds as long as nobody else has pulled the message.
        Raises QueueNotFound, QueueConflict, InvalidMessage, StoreError.
        """
        queue = self._broker.queue(name)
        settings = self._settings(name)
        delays = [checked_delay(delay) for _, delay in retries]
        warnings: list[str] = []
        known: set[int] = set()
        acked = [held.seq for lease in acks if (held := await self._held(queue, lease, known, warnings))]
        again: dict[float, list[int]] = {}
        dead: list[StoredMessage] = []
        for (lease, _), delay in zip(retries, delays, strict=True):
            held = await self._held(queue, lease, known, warnings)
            if held is None:
                continue
            if held.attempts > settings.max_retries:
                dead.append(held)
            else:
                again.setdefault(settings.retry_delay if delay is None else delay, []).append(held.seq)
        if acked:
            queue.delete(acked)
        now = self._broker.clock.time()
        for delay, seqs in again.items():
            queue.release(seqs, until=now + delay if delay else now)
        if dead:
            self._broker.bury(queue, dead, settings)
        if (pending := queue.pending()) is not None:
            await pending
        return Answered(len(acked), sum(map(len, again.values())) + len(dead), tuple(warnings))

    def _settings(self, name: str) -> ConsumerSettings:
        settings = self._broker.consumer_settings(name)
        if settings is None:
            return _DEFAULT
        if settings.kind is not ConsumerKind.HTTP_PULL:
            raise QueueConflict(
                f'the messages of queue {name} go to the worker; to pull them, set type = "http_pull" in its '
                "queues.consumers"
            )
        return settings

    async def _ready(
        self, queue: StoredQueue, count: int, settings: ConsumerSettings, leasing: set[int]
    ) -> list[StoredMessage]:
        """Messages that nobody holds: those that were delayed first, then in order."""
        consumer = self._broker.consumer(queue.name)
        while True:
            now = self._broker.clock.time()
            held = leasing | queue.leaving | (set() if consumer is None else consumer.window.in_flight)
            limit = count + len(held)
            found = [*await queue.due((0.0, 0), now, limit), *await queue.fresh(0, limit)]
            free = [each for each in found if each.seq not in held and each.seq not in leasing][:count]
            oldest = now - self._broker.settings.retention_of(queue.name)
            expired = [message for message in free if message.sent_at <= oldest]
            spent = [each for each in free if each.sent_at > oldest and each.attempts > settings.max_retries]
            if expired:
                await queue.delete([message.seq for message in expired])
            if spent:
                self._broker.bury(queue, spent, settings)
                if (pending := queue.pending()) is not None:
                    await pending
            if not expired and not spent:
                return free

    async def _held(self, queue: StoredQueue, lease: str, known: set[int], warnings: list[str]) -> StoredMessage | None:
        """The message of a lease."""
        match = _LEASE.fullmatch(lease)
        message = await queue.leased(int(match[1]), match[2]) if match else None
        taken = known | queue.leaving | self._leasing.get(queue.name, set())
        if message is None or message.seq in taken:
            warnings.append(f"lease_id {lease!r:.80} is not held: it was answered already, or its time was over")
            return None
        known.add(message.seq)
        return message

    async def _backlog(self, queue: StoredQueue) -> int:
        """How many messages there are; a long queue is counted once a second."""
        now = self._broker.clock.monotonic()
        at, count = self._counted.get(queue.name, (-math.inf, 0))
        if count < _LONG or now - at >= 1.0:
            count = await queue.count()
            self._counted[queue.name] = (now, count)
        return count
