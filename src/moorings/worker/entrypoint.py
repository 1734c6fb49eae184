"""``WorkerEntrypoint``: ``fetch`` answers requests from outside, ``scheduled`` crons, ``queue`` consumes messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from moorings.http import Request, Response
from moorings.queues.batch import MessageBatch
from moorings.worker.cron import ScheduledController


class ExecutionContext:
    """``self.ctx`` of a worker."""

    __slots__ = ("_background",)

    def __init__(self, background: Callable[[Awaitable[Any]], None]) -> None:
        self._background = background

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Go on with ``awaitable`` after the response was sent; what it raises is logged."""
        self._background(awaitable)


class WorkerEntrypoint:
    """Answers requests, does the work of crons, and consumes queues.

    One instance for each of them; ``self.env`` holds the bindings, ``self.ctx`` has ``wait_until``.
    Source: developers.cloudflare.com/workers/runtime-apis/bindings/service-bindings/rpc/
    """

    def __init__(self, ctx: ExecutionContext, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def fetch(self, request: Request) -> Response:
        """Answer a request from outside. Raises NotImplementedError unless a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no fetch(self, request)")

    async def scheduled(self, controller: ScheduledController) -> None:
        """Work that a cron of ``triggers.crons`` asks for; what it raises is logged. Nothing unless overridden.

        A worker whose configuration has crons must override it.
        """

    async def queue(self, batch: MessageBatch) -> None:
        """Messages of a queue of ``queues.consumers``. Raises NotImplementedError unless a subclass defines it.

        What is not acknowledged or retried by itself is acknowledged when this returns, and retried when it raises.
        """
        raise NotImplementedError(f"{type(self).__name__} has no queue(self, batch)")
