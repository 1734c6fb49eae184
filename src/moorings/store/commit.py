"""A durable point in time: what output gates wait for.

``Commit`` is a future without a task, a loop or a warning: hundreds are made in one turn, most are never awaited, and
one that failed unseen is reported through its group, not at garbage collection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from moorings.errors import StoreError

Callback = Callable[["Commit"], object]


class Commit:
    """Whether some writes are durable yet. Awaitable any number of times, from the event loop's thread."""

    __slots__ = ("_callbacks", "_done", "_error")

    def __init__(self) -> None:
        self._done = False
        self._error: StoreError | None = None
        self._callbacks: list[Callback] | None = None

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._done

    @property
    def error(self) -> StoreError | None:
        """Why the writes were not stored; None while the outcome is open, and where they were."""
        return self._error

    def add_done_callback(self, callback: Callback) -> None:
        """Call ``callback(commit)`` when the outcome is known: at once where it is, else in the order of registration.

        Callbacks run synchronously in the turn that brings the outcome. What one raises goes to the loop's exception
        handler.
        """
        if self._done:
            callback(self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def resolve(self, error: StoreError | None = None) -> None:
        """Give the outcome, once; later calls change nothing. For whoever made the commit."""
        if self._done:
            return
        self._done = True
        self._error = error
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception as raised:  # noqa: BLE001 - a bad callback must not keep the others from their outcome
                context = {"message": "a commit's callback failed", "exception": raised}
                asyncio.get_running_loop().call_exception_handler(context)

    def __await__(self) -> Generator[Any, None, None]:
        if not self._done:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.add_done_callback(lambda commit: None if waiter.done() else waiter.set_result(None))
            yield from waiter
        if self._error is not None:
            raise self._error
