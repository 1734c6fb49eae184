"""The attempts of one ``step.do``: run the function, record what came of it, wait, and run it again.

Invariants: the count and the time of the next attempt are durable before the wait begins, the result before the code
goes on. An attempt that is cut off, by the platform's end or by the code around it, is never charged. A function that
ends without having suspended leaves one row; one that suspends is first recorded as running, which nobody waits for.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from moorings.errors import NonRetryableError, StepResultRefused, StepTimeout
from moorings.http import Request, Response
from moorings.objects.escapes import contained
from moorings.objects.running import Unwindable, current_code
from moorings.objects.values.json_values import encode_json_value
from moorings.workflows.failures import raised_again, record
from moorings.workflows.journal import Entry
from moorings.workflows.lifecycle import StepState
from moorings.workflows.retrying import StepConfig, wait_after

if TYPE_CHECKING:
    from moorings.clock import TimerHandle
    from moorings.workflows.run import Run

LARGEST: Final = 1 << 20
"""Bytes of a result, an output, parameters or a payload as JSON."""

_ATOMS: Final = (str, int, bool, float, type(None))


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step's function gets for a parameter named ``ctx``: its number among the charged attempts, from 1."""

    step: str
    attempt: int


class _Code:
    """A step's function while it runs: unwound only where it is cut off (``terminate``, the platform's end)."""

    __slots__ = ("unwinding",)

    def __init__(self) -> None:
        self.unwinding = False


def encode_result(value: Any, what: str, *, advice: str = "") -> str:
    """``value`` as JSON of at most 1 MiB. Raises StepResultRefused, which begins with ``what``."""
    if isinstance(value, Response | Request):
        kind = type(value).__name__
        read = "return what it says instead, such as await response.json() or await response.text()"
        raise StepResultRefused(f"{what}: a {kind} can't be recorded; {read}")
    try:
        text = encode_json_value(value, what)
    except (TypeError, ValueError, RecursionError) as error:
        raise StepResultRefused(str(error)) from None
    size = len(text) if text.isascii() else len(text.encode())
    if size > LARGEST:
        raise StepResultRefused(f"{what}: it has {size:,} bytes as JSON, and 1 MiB is the limit; {advice or _STORE}")
    return text


_STORE: Final = "store it elsewhere (an object's storage, a file of a container) and return where it is"


async def perform(run: Run, entry: Entry, config: StepConfig, fn: Callable[..., Any]) -> Any:
    """Run ``fn`` until it succeeds or its attempts are used up. Returns its result; raises its recorded error."""
    while True:
        if entry.state is StepState.RETRYING and entry.due is not None:
            await run.until(entry.due)
        await run.permitted()
        run.active += 1
        try:
            entry.state, entry.due = StepState.RUNNING, None
            result: Any = None
            failure: Exception | None = None
            try:
                result = await _attempt(run, entry, config, fn)
                entry.output = encode_result(result, f"the result of the step {entry.name!r}")
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001  # all that a step raises is recorded
                failure = contained(error, f"the step {entry.name!r}")
            if run.unwinding:
                raise asyncio.CancelledError
            entry.attempts += 1
            if failure is None:
                entry.state, entry.ended, entry.error = StepState.COMPLETE, run.now(), None
            else:
                _charge(run, entry, config, failure)
            await run.recorded(run.write(entry))
        finally:
            run.active -= 1
            run.changed()
        if run.pausing:
            await run.permitted()
        if failure is None:
            if type(result) in _ATOMS:
                return result
            assert entry.output is not None
            return json.loads(entry.output)
        run.attempt_failed(entry, failure)
        if entry.state is StepState.FAILED:
            assert entry.error is not None
            raise raised_again(entry.error, step=entry.name, names=run.names) from failure


def _charge(run: Run, entry: Entry, config: StepConfig, failure: Exception) -> None:
    final = isinstance(failure, NonRetryableError | StepResultRefused)
    wait = None if final else wait_after(config, entry.attempts)
    entry.error = record(failure)
    if wait is None:
        entry.state, entry.ended = StepState.FAILED, run.now()
    else:
        entry.state, entry.due = StepState.RETRYING, run.now() + wait


def _wants_context(fn: Callable[..., Any]) -> bool:
    function: Any = fn
    while isinstance(function, functools.partial):
        if "ctx" in function.keywords:
            return False
        function = function.func
    code = getattr(function, "__code__", None)
    return code is not None and "ctx" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


async def _attempt(run: Run, entry: Entry, config: StepConfig, fn: Callable[..., Any]) -> Any:
    code = _Code()
    run.steps.add(code)
    token: Token[Unwindable | None] = current_code.set(code)
    try:
        result = fn(ctx=StepContext(entry.name, entry.attempts + 1)) if _wants_context(fn) else fn()
        if inspect.iscoroutine(result):
            result = await _watched(result, _Suspended(run, entry, config.timeout))
        elif inspect.isawaitable(result):
            result = await _watched(_awaited(result), _Suspended(run, entry, config.timeout))
        return result
    finally:
        run.steps.discard(code)
        current_code.reset(token)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class _Suspended:
    """What follows from a step's function having suspended: it is recorded as running, and its time runs."""

    __slots__ = ("_entry", "_run", "_task", "_timeout", "_timer", "late")

    def __init__(self, run: Run, entry: Entry, timeout: float) -> None:
        self._run = run
        self._entry = entry
        self._timeout = timeout
        self._task: asyncio.Task[Any] | None = None
        self._timer: TimerHandle | None = None
        self.late = False

    def begin(self) -> None:
        self._run.write(self._entry)
        self._task = asyncio.current_task()
        self._timer = self._run.clock.call_later(self._timeout, self._expire)

    def _expire(self) -> None:
        if self._task is not None and not self._run.unwinding:
            self.late = True
            self._task.cancel()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def error(self) -> StepTimeout:
        """The error of an attempt that took too long; takes back the cancellation that ended it."""
        if self._task is not None:
            self._task.uncancel()
        return StepTimeout(f"the step {self._entry.name!r} took longer than its timeout of {self._timeout:g} s")


async def _watched(coroutine: Coroutine[Any, Any, Any], suspended: _Suspended) -> Any:
    try:
        result = await _driven(coroutine, suspended)
    except asyncio.CancelledError as error:
        if suspended.late:
            raise suspended.error() from error
        raise
    finally:
        suspended.end()
    if suspended.late:
        raise suspended.error()
    return result


@types.coroutine
def _driven(coroutine: Coroutine[Any, Any, Any], suspended: _Suspended) -> Generator[Any, Any, Any]:
    """Await ``coroutine``, and say when it suspends for the first time."""
    try:
        yielded = coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    try:
        suspended.begin()
    except BaseException:
        coroutine.close()
        raise
    while True:
        try:
            yield yielded
        except BaseException as error:  # noqa: BLE001  # a cancellation is the coroutine's
            try:
                yielded = coroutine.throw(error)
            except StopIteration as ended:
                return ended.value
        else:
            return (yield from coroutine.__await__())
