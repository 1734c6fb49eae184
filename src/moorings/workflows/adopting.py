"""Which run a new task is part of: the loop's task factory, while workflows are in use.

Why it exists: a run may be left only when all of its tasks wait, so it has to know those that nobody has awaited yet
too. Tasks that the platform makes for itself in passing (a container's watcher, an object's handler) are none of the
run's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from moorings.objects.event import current_event
from moorings.objects.running import current_code
from moorings.workflows.run import Run

_PLATFORM: Final = str(Path(__file__).parent.parent) + "/"
_STEPS: Final = str(Path(__file__).parent) + "/"


class TaskFactory:
    """Tells runs of the tasks that their code makes. ``install`` it, and ``remove`` it in the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._previous: Callable[..., Any] | None = None

    def install(self) -> None:
        """Make tasks from now on, behind the factory that the loop has, if any."""
        self._previous = self._loop.get_task_factory()
        self._loop.set_task_factory(self._make)

    def remove(self) -> None:
        """Let the loop make its tasks as before."""
        if self._loop.get_task_factory() == self._make:
            self._loop.set_task_factory(self._previous)

    def _make(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        if self._previous is None:
            task = asyncio.Task(coroutine, loop=loop, **options)
        else:
            task = self._previous(loop, coroutine, **options)
        code = current_code.get()
        if isinstance(code, Run) and current_event.get() is None and _is_users(coroutine):
            if code.unwinding:
                task.cancel()
            code.adopt(task)
        return task


def _is_users(coroutine: Coroutine[Any, Any, Any]) -> bool:
    code = getattr(coroutine, "cr_code", None)
    filename: str = "" if code is None else code.co_filename
    return not filename.startswith(_PLATFORM) or filename.startswith(_STEPS)
