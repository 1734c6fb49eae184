"""``env.MY_QUEUE``: sending messages.

A send returns once the message is durable. From inside an object it is one of the effects that wait for the output
gate: it happens when the object's writes before it are durable.
Source: developers.cloudflare.com/queues/configuration/javascript-apis/#queue
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moorings.clock import Clock
from moorings.errors import BatchTooLarge, InvalidMessage
from moorings.objects.event import caller_written
from moorings.queues.bodies import ContentType, content_type_of, encode
from moorings.queues.limits import BATCH_BYTES, BATCH_MESSAGES, checked_delay
from moorings.queues.stored_queue import StoredQueue

_KEYS: Final = {
    "body": "body",
    "content_type": "content_type",
    "contentType": "content_type",
    "delay_seconds": "delay_seconds",
    "delaySeconds": "delay_seconds",
}


@dataclass(frozen=True, slots=True)
class MessageSendRequest:
    """One message of ``send_batch``. A dict with the same keys does as well."""

    body: Any
    content_type: str = ContentType.JSON
    delay_seconds: float | None = None


class Queue:
    """A queue as its producers know it. ``name`` is the queue's."""

    __slots__ = ("_clock", "_delay", "_queue")

    def __init__(self, queue: StoredQueue, delivery_delay: float, clock: Clock) -> None:
        self._queue = queue
        self._delay = delivery_delay
        self._clock = clock

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._queue.name

    async def send(
        self, body: Any, *, delay_seconds: float | None = None, content_type: str = ContentType.JSON
    ) -> None:
        """Send one message; returns when it is durable.

        It is delivered after ``delay_seconds`` (0 to 43,200), by default the queue's ``delivery_delay``. ``body`` is a
        JSON value, or what ``content_type`` says: a str for "text", bytes for "bytes".
        Raises TypeError, InvalidMessage, MessageTooLarge, StoreError.
        """
        kind = content_type_of(content_type)
        delay = checked_delay(delay_seconds)
        data = encode(body, kind)
        await caller_written()
        await self._queue.send(((kind, data, self._delay if delay is None else delay),), self._clock.time())

    async def send_batch(
        self,
        messages: Iterable[MessageSendRequest | Mapping[str, Any]],
        *,
        delay_seconds: float | None = None,
    ) -> None:
        """Send up to 100 messages, of up to 256 KB in all, together: all are durable when it returns, or none.

        Each is a MessageSendRequest, or a dict with ``body`` and perhaps ``content_type`` and ``delay_seconds``, which
        wins over that of the batch.
        Raises TypeError, InvalidMessage, MessageTooLarge, BatchTooLarge, StoreError.
        """
        default = checked_delay(delay_seconds)
        if default is None:
            default = self._delay
        encoded = []
        size = 0
        for index, message in enumerate(messages):
            if index == BATCH_MESSAGES:
                raise BatchTooLarge(f"send_batch takes {BATCH_MESSAGES} messages at most: send the rest in another")
            request = _request(message, index)
            kind = content_type_of(request.content_type)
            delay = checked_delay(request.delay_seconds)
            data = encode(request.body, kind, where=f"messages[{index}].body")
            size += len(data)
            if size > BATCH_BYTES:
                raise BatchTooLarge(
                    f"the bodies up to messages[{index}] have {size:,} bytes; those of a batch have {BATCH_BYTES:,} at "
                    "most: send the rest in another"
                )
            encoded.append((kind, data, default if delay is None else delay))
        if not encoded:
            raise InvalidMessage("send_batch was given no message")
        await caller_written()
        await self._queue.send(encoded, self._clock.time())

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"


def _request(message: MessageSendRequest | Mapping[str, Any], index: int) -> MessageSendRequest:
    if isinstance(message, MessageSendRequest):
        return message
    if isinstance(message, Mapping):
        if "body" not in message:
            raise TypeError(f'messages[{index}] has no "body"; write {{"body": ...}} for each message of a batch')
        unknown = [key for key in message if key not in _KEYS]
        if unknown:
            raise TypeError(
                f"messages[{index}] has {unknown[0]!r:.80}; beside body there are content_type and delay_seconds"
            )
        return MessageSendRequest(**{_KEYS[key]: value for key, value in message.items()})
    raise TypeError(f'messages[{index}] is {type(message).__name__}; write {{"body": ...}} for each message of a batch')
