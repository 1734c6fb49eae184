"""Pull consumers over HTTP, on a listener of their own: requests and answers are those of Cloudflare's API.

``POST .../queues/NAME/messages/pull`` and ``.../messages/ack``; in front of ``/queues`` may stand ``/client/v4`` and
``/accounts/ANY``, so that programs written for that API only need another base URL. Every request carries the token:
``Authorization: Bearer TOKEN``.
Source: developers.cloudflare.com/api/resources/queues/subresources/messages/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar

import msgspec

from moorings.clock import Clock
from moorings.errors import BadRequest, MooringsError, NotFound, Unauthorized
from moorings.http import HttpServer, Limits, Request, Response
from moorings.observer import ErrorReported, Observer
from moorings.queues.bodies import ContentType
from moorings.queues.message import StoredMessage
from moorings.queues.pulling import BATCH_SIZE, Pulling

_PATH: Final = re.compile(r"(?:/client/v4)?(?:/accounts/[^/]+)?/queues/([^/]+)/messages/(pull|ack)")
_LIMITS: Final = Limits(body=1_048_576)

P = TypeVar("P", bound=msgspec.Struct)


class PullRequest(msgspec.Struct, frozen=True):
    """What a pull asks for."""

    batch_size: int = BATCH_SIZE
    visibility_timeout_ms: float | None = None


class Ack(msgspec.Struct, frozen=True):
    """A lease that is acknowledged."""

    lease_id: str


class Retry(msgspec.Struct, frozen=True):
    """A lease whose message is to be delivered again."""

    lease_id: str
    delay_seconds: float | None = None


class AckRequest(msgspec.Struct, frozen=True):
    """What becomes of leases."""

    acks: Annotated[list[Ack], msgspec.Meta(max_length=1000)] = []
    retries: Annotated[list[Retry], msgspec.Meta(max_length=1000)] = []


class PullApi:
    """Serves pull consumers. ``listen`` first, ``close`` last."""

    def __init__(self, pulling: Pulling, token: str, *, clock: Clock, observer: Observer) -> None:
        self._pulling = pulling
        self._token = _digest(token.encode())
        self._observer = observer
        self._server = HttpServer(
            self.handle, on_error=self._error_response, limits=_LIMITS, clock=clock, observer=observer
        )

    async def listen(self, host: str, port: int) -> str:
        """Accept connections; returns the URL. Raises OSError where the address can't be had."""
        host, port = await self._server.listen(host, port)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def drain(self, timeout: float) -> None:
        """Accept no more, and wait up to ``timeout`` seconds for the requests in flight."""
        await self._server.drain(timeout)

    async def close(self) -> None:
        """Break off what is under way. Idempotent."""
        await self._server.close()

    async def handle(self, request: Request) -> Response:
        """The answer to a request. Raises Unauthorized, NotFound, BadRequest, and what ``Pulling`` raises."""
        self._authorize(request)
        match = _PATH.fullmatch(request.url.path)
        if match is None:
            raise NotFound("this listener has /queues/NAME/messages/pull and /queues/NAME/messages/ack")
        if request.method != "POST":
            raise BadRequest(f"messages are pulled and acknowledged with POST, not {request.method}")
        body = await request.bytes()
        if match[2] == "pull":
            return _answered(await self._pull(match[1], _parsed(body, PullRequest)))
        return _answered(await self._ack(match[1], _parsed(body, AckRequest)))

    async def _pull(self, queue: str, asked: PullRequest) -> dict[str, Any]:
        timeout = None if asked.visibility_timeout_ms is None else asked.visibility_timeout_ms / 1000
        pulled = await self._pulling.pull(queue, batch_size=asked.batch_size, visibility_timeout=timeout)
        return {
            "message_backlog_count": pulled.backlog,
            "messages": [_message(lease, message) for lease, message in pulled.messages],
        }

    async def _ack(self, queue: str, asked: AckRequest) -> dict[str, Any]:
        answered = await self._pulling.answer(
            queue,
            acks=[each.lease_id for each in asked.acks],
            retries=[(each.lease_id, each.delay_seconds) for each in asked.retries],
        )
        return {"ackCount": answered.acked, "retryCount": answered.retried, "warnings": answered.warnings}

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        digest = _digest(token.strip().encode("utf-8", "surrogateescape"))
        if not hmac.compare_digest(digest, self._token) or scheme.lower() != "bearer":
            raise Unauthorized("send the header Authorization: Bearer TOKEN, with the token of --admin-token-file")

    def _error_response(self, request: Request | None, error: BaseException) -> Response:
        if isinstance(error, MooringsError):
            code, status, message = error.code, error.status, str(error)
        else:
            where = "the pull API" if request is None else f"the pull API, {request.url.path}"
            self._observer.notify(ErrorReported(where, error))
            code, status, message = "internal_error", 500, "the platform could not answer; its log says why"
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        errors = [{"code": code, "message": message}]
        return _envelope(None, errors, status=status if 400 <= status <= 599 else 500, headers=headers)


def _digest(token: bytes) -> bytes:
    """Digests have one length, so comparing them tells nothing about that of the token."""
    return hashlib.sha256(token).digest()


def _parsed(body: bytes, kind: type[P]) -> P:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadRequest(f"the body doesn't fit: {error}") from None


def _message(lease: str, message: StoredMessage) -> dict[str, Any]:
    """A message as the API gives it: texts as they are, the rest as base64."""
    text = message.content_type is ContentType.TEXT
    return {
        "id": message.id,
        "lease_id": lease,
        "body": message.body.decode() if text else base64.b64encode(message.body).decode(),
        "attempts": message.attempts,
        "timestamp_ms": round(message.sent_at * 1000),
        "metadata": {"CF-Content-Type": message.content_type.value},
    }


def _answered(result: dict[str, Any]) -> Response:
    return _envelope(result, (), status=200, headers={})


def _envelope(
    result: dict[str, Any] | None, errors: Iterable[dict[str, str]], *, status: int, headers: dict[str, str]
) -> Response:
    envelope = {"success": status < 400, "errors": list(errors), "messages": [], "result": result}
    return Response(
        msgspec.json.encode(envelope), status=status, headers={"Content-Type": "application/json", **headers}
    )
