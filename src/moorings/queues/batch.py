"""What a worker's ``queue(batch)`` is given, and what it decided about each message.

Precedence (Cloudflare's): of several calls on one message the first wins; calls on a message win over those on the
batch, whichever comes first; of several calls on the batch the first wins. What nothing was said about is acknowledged
where the handler returns, and retried where it raises.
Source: developers.cloudflare.com/queues/configuration/batching-retries/#explicit-acknowledgement-and-retries
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Protocol

from moorings.objects.pending import NOTHING
from moorings.queues.bodies import decode
from moorings.queues.limits import checked_delay
from moorings.queues.message import StoredMessage

_UNREAD: Final = object()


class Decision(Enum):
    """What was said about a message, or about a batch."""

    ACK = "ack"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision. ``delay`` is in seconds; None is the consumer's ``retry_delay``."""

    decision: Decision
    delay: float | None = None


ACK: Final = Verdict(Decision.ACK)


class Delivery(Protocol):
    """The way back from a batch to its queue. After the delivery's end its calls change nothing."""

    def acknowledge(self, messages: Sequence[StoredMessage]) -> Awaitable[None]:
        """End messages for good; to be awaited until that is durable, or dropped. Awaiting it may raise LeaseLost."""

    def take_back(self, message: StoredMessage) -> None:
        """Undo ``acknowledge``."""


class Message:
    """One message of a batch. ``attempts`` is 1 at the first delivery; ``timestamp`` is when it was sent (UTC)."""

    __slots__ = ("_batch", "_body", "_stored", "attempts")

    def __init__(self, stored: StoredMessage, batch: MessageBatch) -> None:
        self.attempts = stored.attempts
        """How often it has been delivered, this time included."""
        self._stored = stored
        self._batch = batch
        self._body: Any = _UNREAD

    @property
    def id(self) -> str:
        """The message's own id, the same at every delivery."""
        return self._stored.id

    @property
    def timestamp(self) -> datetime:
        """When it was sent."""
        return datetime.fromtimestamp(self._stored.sent_at, UTC)

    @property
    def body(self) -> Any:
        """What was sent; tuples have become lists."""
        if self._body is _UNREAD:
            self._body = decode(self._stored.body, self._stored.content_type)
        return self._body

    def ack(self) -> Awaitable[None]:
        """Don't deliver this message again, whatever becomes of the batch.

        Takes effect at the call; what it returns may be awaited until that is durable, or dropped. Awaiting it raises
        StoreError where it could not be stored, and LeaseLost where the batch has failed or taken too long before.
        """
        return self._batch._ack(self._stored)

    def retry(self, *, delay_seconds: float | None = None) -> Awaitable[None]:
        """Deliver this message again after the batch, in ``delay_seconds``; by default the consumer's ``retry_delay``.

        After ``max_retries`` + 1 deliveries it goes to the dead-letter queue instead. Raises InvalidMessage.
        """
        return self._batch._retry(self._stored, checked_delay(delay_seconds))

    def __repr__(self) -> str:
        return f"<Message {self.id} attempt {self.attempts}>"


class MessageBatch:
    """Messages of one queue, in the order in which they were sent. ``queue`` is the queue's name."""

    __slots__ = ("_delivery", "_said", "_stored", "_verdicts", "messages", "queue")

    def __init__(self, queue: str, stored: Sequence[StoredMessage], delivery: Delivery) -> None:
        self.queue = queue
        self.messages = tuple(Message(message, self) for message in stored)
        self._stored = stored
        self._delivery = delivery
        self._verdicts: dict[int, Verdict] = {}
        self._said: Verdict | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"<MessageBatch of {len(self.messages)} from {self.queue}>"

    def ack_all(self) -> Awaitable[None]:
        """Acknowledge every message that nothing was said about. To be awaited until that is durable, or dropped."""
        if self._said is not None:
            return NOTHING
        self._said = ACK
        return self._delivery.acknowledge([each for each in self._stored if each.seq not in self._verdicts])

    def retry_all(self, *, delay_seconds: float | None = None) -> Awaitable[None]:
        """Retry every message that nothing is said about. Raises InvalidMessage."""
        delay = checked_delay(delay_seconds)
        if self._said is None:
            self._said = Verdict(Decision.RETRY, delay)
        return NOTHING

    def _ack(self, message: StoredMessage) -> Awaitable[None]:
        if message.seq in self._verdicts:
            return NOTHING
        self._verdicts[message.seq] = ACK
        return NOTHING if self._said is ACK else self._delivery.acknowledge((message,))

    def _retry(self, message: StoredMessage, delay: float | None) -> Awaitable[None]:
        if message.seq not in self._verdicts:
            self._verdicts[message.seq] = Verdict(Decision.RETRY, delay)
            if self._said is ACK:
                self._delivery.take_back(message)
        return NOTHING


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of a batch. ``unsaid`` is acknowledged by the handler's return; retries have a delay in seconds."""

    unsaid: tuple[StoredMessage, ...]
    retried: tuple[tuple[StoredMessage, float], ...]
    exhausted: tuple[StoredMessage, ...]


class Outcome(Enum):
    """How a handler ended."""

    RETURNED = "returned"
    RAISED = "raised"


def settle(batch: MessageBatch, outcome: Outcome, *, max_retries: int, retry_delay: float) -> Settlement:
    """What becomes of each message of a batch whose handler has ended."""
    if not batch._verdicts and batch._said is None and outcome is Outcome.RETURNED:
        return Settlement(tuple(batch._stored), (), ())
    unsaid, retried, exhausted = [], [], []
    for message in batch._stored:
        verdict = batch._verdicts.get(message.seq) or batch._said
        if verdict is None and outcome is Outcome.RETURNED:
            unsaid.append(message)
        elif verdict is None or verdict.decision is Decision.RETRY:
            delay = retry_delay if verdict is None or verdict.delay is None else verdict.delay
            if message.attempts > max_retries:
                exhausted.append(message)
            else:
                retried.append((message, delay))
    return Settlement(tuple(unsaid), tuple(retried), tuple(exhausted))
