"""gRPC calls on their way into the worker: a call's deadline holds for everything that is done for it.

The deadline begins when the call arrives (``grpc-timeout``). When it passes before there is an answer, while a
container starts for instance, the client is told DEADLINE_EXCEEDED at once, and ``request.signal`` is set, which breaks
off what was asked of containers. The handler itself is not cancelled: what it does belongs to its object. What it
returns too late is dropped. An answer that is under way is ended by its exchange (``http/h2_client/exchange.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from moorings.clock import Clock
from moorings.containers.waiting import first_of
from moorings.errors import ClientDisconnected, DeadlineExceeded, NoInstanceAvailable
from moorings.http import Request, Response
from moorings.http.grpc import is_call, timeout_of
from moorings.http.response_writer import discard

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
MOST_LATE = 1000
"""Handlers that may go on for calls whose deadline has passed; beyond that calls with a deadline are UNAVAILABLE."""

Report = Callable[[str, BaseException], object]


class GrpcCalls:
    """A handler around the worker's. ``close`` it when the server is closed."""

    def __init__(self, handler: Handler, *, clock: Clock, report: Report) -> None:
        """``report`` is told of errors that come too late for an answer."""
        self._handler = handler
        self._clock = clock
        self._report = report
        self._late: set[asyncio.Task[Response]] = set()

    def handle(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Answer a request. Raises what the worker raises, DeadlineExceeded, and NoInstanceAvailable past MOST_LATE."""
        return self._call(request) if is_call(request) else self._handler(request)

    async def _call(self, request: Request) -> Response:
        seconds = timeout_of(request)
        if seconds is None:
            return await self._handler(request)
        request.expire_at(self._clock.monotonic() + seconds)
        if len(self._late) >= MOST_LATE:
            raise NoInstanceAvailable(f"{MOST_LATE} calls still run although their deadlines have passed")
        answering = asyncio.create_task(self._handler(request), name="moorings-call")
        try:
            await first_of(self._clock, [answering], seconds)
        except asyncio.CancelledError:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            raise
        if answering.done():
            return answering.result()
        self._late.add(answering)
        answering.add_done_callback(self._too_late)
        request.signal.fire()
        raise DeadlineExceeded(f"the deadline of the call, {seconds:g} s, has passed")

    def _too_late(self, task: asyncio.Task[Response]) -> None:
        self._late.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            discard(task.result())
        elif not isinstance(error, ClientDisconnected | DeadlineExceeded):
            self._report("a call whose deadline had passed", error)

    async def close(self) -> None:
        """Cancel what goes on for calls whose deadline has passed, and wait for it."""
        for task in list(self._late):
            task.cancel()
        if self._late:
            await asyncio.wait(self._late)
