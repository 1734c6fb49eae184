"""Background tasks with an owner: nothing runs that nobody awaits in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """A set of tasks that ``close`` ends. An error that no one has taken by the time a task ends goes to ``report``."""

    __slots__ = ("_report", "_running")

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self._report = report
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, what: str, coroutine: Coroutine[Any, Any, T], *, shared: bool = False) -> asyncio.Task[T]:
        """Run ``coroutine``. The callers of a ``shared`` task receive its error; that of another one is reported."""
        task = asyncio.get_running_loop().create_task(coroutine, name=what)
        self._running.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None and not shared:
                self._report(what, error)

        task.add_done_callback(ended)
        return task

    async def settle(self) -> None:
        """Wait until nothing runs any more."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Cancel what runs, and wait for it."""
        for task in list(self._running):
            task.cancel()
        await self.settle()
