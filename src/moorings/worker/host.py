"""Runs the user's worker: one instance per request, cron or batch of messages, and the background work it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import CoroutineType
from typing import Any

from moorings.errors import WorkerError
from moorings.http import Request, Response
from moorings.objects.escapes import ORDINARY, contained
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Observer
from moorings.queues.batch import MessageBatch
from moorings.worker.cron import ScheduledController
from moorings.worker.entrypoint import ExecutionContext, WorkerEntrypoint
from moorings.worker.env import Env


class WorkerHost:
    """The way of a request from the server into the user's worker."""

    def __init__(self, worker: type[WorkerEntrypoint], env: Env, observer: Observer) -> None:
        self._observer = observer
        self._tasks = Tasks(self._report)
        self.ctx = ExecutionContext(self._background)
        self.worker = worker
        self.env = env

    async def handle(self, request: Request) -> Response:
        """Answer one request. Raises whatever the user's code raises, and WorkerError where it returns no Response."""
        try:
            answer: Any = self.worker(self.ctx, self.env).fetch(request)
            if type(answer) is CoroutineType or asyncio.iscoroutine(answer):
                answer = await answer
        except ORDINARY:
            raise
        except BaseException as error:
            raise contained(error, f"{self.worker.__name__}.fetch") from error
        if not isinstance(answer, Response):
            raise WorkerError(
                f"{self.worker.__name__}.fetch returned {type(answer).__name__}; it must return a Response"
                + (" (is a return missing?)" if answer is None else "")
            )
        return answer

    async def scheduled(self, controller: ScheduledController) -> None:
        """Do the work of a cron. Raises whatever the user's code raises."""
        try:
            answer: Any = self.worker(self.ctx, self.env).scheduled(controller)
            if asyncio.iscoroutine(answer):
                await answer
        except ORDINARY:
            raise
        except BaseException as error:
            raise contained(error, f"{self.worker.__name__}.scheduled") from error

    async def queue(self, batch: MessageBatch) -> None:
        """Deliver messages. Raises whatever the user's code raises."""
        try:
            answer: Any = self.worker(self.ctx, self.env).queue(batch)
            if asyncio.iscoroutine(answer):
                await answer
        except ORDINARY:
            raise
        except BaseException as error:
            raise contained(error, f"{self.worker.__name__}.queue") from error

    def _background(self, awaitable: Awaitable[Any]) -> None:
        async def wait() -> None:
            try:
                await awaitable
            except ORDINARY:
                raise
            except BaseException as error:
                raise contained(error, f"wait_until of {self.worker.__name__}") from error

        self._tasks.spawn("wait_until", wait())

    def _report(self, where: str, error: BaseException) -> None:
        self._observer.notify(ErrorReported(where, error))

    async def close(self, *, grace: float) -> None:
        """Give background work ``grace`` seconds to end, then cancel it."""
        try:
            async with asyncio.timeout(grace):
                await self._tasks.settle()
        except TimeoutError:
            await self._tasks.close()
