"""Whether all of a run waits: for its steps' times and events, or for other parts of itself that do.

Why it exists: an instance may leave memory only when nothing in it would go on by itself. A branch that waits for
anything else (a request, a timer of asyncio, a thread) keeps the whole run in memory; leaving then would cut it off.

What a task waits for is read from the task. Waiting for one's own tasks is known in these forms: ``await task``,
``asyncio.gather``, ``asyncio.wait`` without a timeout, ``asyncio.as_completed``, ``asyncio.TaskGroup``, and the locks
and queues of asyncio, which only the run's own code can release. Any other form counts as going on: that errs on the
safe side, and costs the memory that leaving would have given back.
"""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import asyncio.taskgroups
import asyncio.tasks
from collections.abc import Collection, Container
from types import CoroutineType, FrameType
from typing import Any, Final

_INTERNAL: Final = frozenset(
    module.__file__ for module in (asyncio.locks, asyncio.queues, asyncio.taskgroups) if module.__file__
)


def is_quiet(tasks: Collection[asyncio.Task[Any]], waits: Container[asyncio.Future[Any]]) -> bool:
    """Whether each of ``tasks`` waits for one of ``waits``, or for another of ``tasks``."""
    return all(_waits(task, tasks, waits) for task in tasks)


def _waits(
    task: asyncio.Task[Any], tasks: Container[asyncio.Future[Any]], waits: Container[asyncio.Future[Any]]
) -> bool:
    awaited = getattr(task, "_fut_waiter", None)
    if awaited is None:
        return task.done()
    if awaited in waits or awaited in tasks:
        return not awaited.done()
    if awaited.done():
        return False
    children = getattr(awaited, "_children", None)  # asyncio.gather's
    if children is not None:
        return _explained(children, tasks, waits)
    frame = _innermost(task)
    if frame is None:
        return False
    code = frame.f_code
    if code.co_filename == asyncio.tasks.__file__ and code.co_name == "_wait":
        held = frame.f_locals
        return held.get("timeout") is None and _explained(held.get("fs", ()), tasks, waits)
    return code.co_filename in _INTERNAL


def _explained(
    futures: Collection[asyncio.Future[Any]],
    tasks: Container[asyncio.Future[Any]],
    waits: Container[asyncio.Future[Any]],
) -> bool:
    left = [future for future in futures if not future.done()]
    return bool(left) and all(future in tasks or future in waits for future in left)


def _innermost(task: asyncio.Task[Any]) -> FrameType | None:
    """The frame that has suspended the task, where that is one of a coroutine."""
    coroutine: Any = task.get_coro()
    while isinstance(coroutine, CoroutineType):
        inner = coroutine.cr_await
        if not isinstance(inner, CoroutineType):
            return coroutine.cr_frame
        coroutine = inner
    return None
