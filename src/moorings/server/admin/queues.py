"""Operations on queues: what ``moorings queue`` asks for."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec

from moorings.errors import InvalidMessage
from moorings.queues.managing import Managing, PeekedMessage, QueueStatus
from moorings.server.admin.router import NoParameters, Operation, Route

Count = Annotated[int, msgspec.Meta(ge=1)]


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which queue."""

    queue: str


class Sending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/queues/send``. ``body`` of content type "bytes" is base64."""

    queue: str
    body: Any
    content_type: str = "json"
    delay_seconds: float | None = None


class Peeking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/queues/peek``."""

    queue: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


class RetryingDead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/queues/retry-dlq``."""

    queue: str
    to: str | None = None
    limit: Count | None = None


def routes(managing: Managing) -> list[Route]:
    """``/queues/...``."""

    async def listed(params: NoParameters) -> list[QueueStatus]:
        return await managing.statuses()

    async def send(params: Sending) -> dict[str, str]:
        body = _bytes(params.body) if params.content_type == "bytes" else params.body
        await managing.send(params.queue, body, content_type=params.content_type, delay_seconds=params.delay_seconds)
        return {"queue": params.queue}

    async def peek(params: Peeking) -> list[PeekedMessage]:
        return await managing.peek(params.queue, limit=params.limit)

    async def pause(params: Named) -> dict[str, object]:
        await managing.pause(params.queue)
        return {"queue": params.queue, "paused": True}

    async def resume(params: Named) -> dict[str, object]:
        await managing.resume(params.queue)
        return {"queue": params.queue, "paused": False}

    async def purge(params: Named) -> dict[str, object]:
        return {"queue": params.queue, "deleted": await managing.purge(params.queue)}

    async def retry_dead(params: RetryingDead) -> dict[str, object]:
        return {
            "queue": params.queue,
            "moved": await managing.retry_dead(params.queue, to=params.to, limit=params.limit),
        }

    return [
        Operation("/queues/list", NoParameters, listed),
        Operation("/queues/send", Sending, send),
        Operation("/queues/peek", Peeking, peek),
        Operation("/queues/pause", Named, pause),
        Operation("/queues/resume", Named, resume),
        Operation("/queues/purge", Named, purge),
        Operation("/queues/retry-dlq", RetryingDead, retry_dead),
    ]


def _bytes(body: Any) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidMessage('a body of content_type "bytes" is given as base64') from None
