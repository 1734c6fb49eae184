"""``step``: what a workflow's ``run`` is given to do its work with.

Numbers are seconds, as everywhere in Moorings (Cloudflare's are milliseconds); texts are as Cloudflare writes them.
Source: developers.cloudflare.com/workflows/build/workers-api/#workflowstep
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, overload

from moorings.errors import EventTimeout, WorkflowError
from moorings.workflows.attempts import StepContext, perform
from moorings.workflows.decorated import Declared
from moorings.workflows.durations import event_type_of, moment, period, step_name
from moorings.workflows.entrypoint import ReceivedEvent
from moorings.workflows.failures import raised_again, record
from moorings.workflows.lifecycle import StepKind, StepState
from moorings.workflows.retrying import read_config

if TYPE_CHECKING:
    from moorings.workflows.run import Run

Config = Mapping[str, Any]
Function = Callable[..., Any]

EVENT_TIMEOUT: Final = "24 hours"


class WorkflowStep:
    """The steps of one run. Each name may be used once in a run."""

    __slots__ = ("_declared", "_run")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._declared: dict[str, Declared] = {}

    @overload
    def do(self, name: str, fn: Function, /) -> Awaitable[Any]: ...

    @overload
    def do(self, name: str, config: Config | None, fn: Function, /) -> Awaitable[Any]: ...

    @overload
    def do(
        self, name: str | None = None, config: Config | None = None, *, concurrent: bool = False
    ) -> Callable[[Function], Declared]: ...

    def do(self, name: Any = None, config: Any = None, fn: Any = None, *, concurrent: bool = False) -> Any:
        """Run ``fn()`` once, whatever happens meanwhile, and give its result, which must be JSON of at most 1 MiB.

        ``await step.do(name, fn)`` and ``await step.do(name, config, fn)`` run it now; ``fn`` is ``def`` or ``async
        def``. ``@step.do(name)`` and ``@step.do(name, config)`` over a function give one to await: ``await function()``
        (see ``Declared``). ``config``: see ``moorings.workflows.retrying.read_config``.

        An attempt that raises is repeated; the error of the last one is raised, made anew from its class's name, its
        arguments and message. Raises StepNameUsed for a name that was used before, StepResultRefused, and TypeError or
        ValueError for a configuration that doesn't fit.
        """
        if callable(config) and fn is None:
            config, fn = None, config
        if fn is not None:
            return self._do(step_name(name), read_config(config, name), fn)
        if config is not None and not isinstance(config, Mapping):
            raise TypeError(f"step.do takes a name, a configuration (a dict) and a function, not {config!r:.80}")
        if callable(name):
            raise TypeError("write @step.do() with parentheses, or @step.do('name')")

        def declare(function: Function) -> Declared:
            own = step_name(function.__name__ if name is None else name)
            declared = Declared(self._declared, own, read_config(config, own), function, self._do, concurrent)
            self._declared[function.__name__] = declared
            return declared

        return declare

    async def _do(self, name: str, config: Any, fn: Function) -> Any:
        run = self._run
        if run.unwinding:
            await run.refused()
        entry = run.enter(name, StepKind.DO)
        if entry.fresh and run.journal.unmet:
            await run.admitted(entry)
        if entry.state is StepState.COMPLETE:
            assert entry.output is not None
            await run.turn()
            return json.loads(entry.output)
        if entry.state is StepState.FAILED:
            assert entry.error is not None
            await run.turn()
            raise raised_again(entry.error, step=name, names=run.names)
        return await perform(run, entry, config, fn)

    async def sleep(self, name: str, duration: str | float | timedelta) -> None:
        """Go on after ``duration``: seconds, a timedelta, or a text such as ``"1 hour"``. At most 365 days."""
        await self._sleep(step_name(name), lambda now: now + period(duration, f"step.sleep({name!r})"))

    async def sleep_until(self, name: str, when: datetime | float) -> None:
        """Go on at ``when``: a datetime (a naive one is local time), or Unix seconds."""
        await self._sleep(step_name(name), lambda _: moment(when, f"step.sleep_until({name!r})"))

    async def _sleep(self, name: str, until: Callable[[float], float]) -> None:
        run = self._run
        if run.unwinding:
            await run.refused()
        due = until(run.now())
        entry = run.enter(name, StepKind.SLEEP)
        if entry.fresh and run.journal.unmet:
            await run.admitted(entry)
        if entry.state is StepState.COMPLETE:
            await run.turn()
            return
        if entry.due is None:
            entry.due = due
            entry.state = StepState.WAITING
            run.write(entry)
        await run.until(entry.due)
        entry.state, entry.ended = StepState.COMPLETE, run.now()
        run.write(entry)
        await run.permitted()

    async def wait_for_event(
        self, name: str, type: str | None = None, timeout: str | float | timedelta = EVENT_TIMEOUT
    ) -> ReceivedEvent:
        """The next event of ``type`` that was sent to this instance, however early (a name of 1 to 100 letters, digits,
        ``-``, ``_`` and ``.``).

        Raises EventTimeout after ``timeout``: seconds, a timedelta, or a text such as ``"24 hours"``; at most 365 days.
        """
        run = self._run
        what = f"step.wait_for_event({name!r})"
        event_type = event_type_of(type, what)
        patience = period(timeout, what)
        if run.unwinding:
            await run.refused()
        entry = run.enter(step_name(name), StepKind.WAIT_FOR_EVENT)
        if entry.fresh and run.journal.unmet:
            await run.admitted(entry)
        if entry.state is StepState.COMPLETE:
            assert entry.output is not None
            await run.turn()
            return _received(json.loads(entry.output))
        if entry.state is StepState.FAILED:
            assert entry.error is not None
            await run.turn()
            raise raised_again(entry.error, step=name, names=run.names)
        if entry.due is None:
            entry.due, entry.event_type, entry.state = run.now() + patience, event_type, StepState.WAITING
            if not any(event.type == event_type for event in run.journal.events):
                run.write(entry)
        elif entry.event_type != event_type:  # the code waits for another now, and that is what is to wake it
            entry.event_type = event_type
            run.write(entry)
        event = await run.event(event_type, entry.due)
        entry.ended = run.now()
        if event is None:
            error = EventTimeout(f"no event of type {event_type!r} came in time for the step {name!r}")
            entry.state, entry.error = StepState.FAILED, record(error)
            await run.recorded(run.write(entry))
            await run.permitted()
            raise error
        document = f'{{"type":{json.dumps(event.type)},"sent":{event.sent!r},"payload":{event.payload}}}'
        entry.state, entry.output = StepState.COMPLETE, document
        run.journal.forget_event(event)
        await run.recorded(run.write(entry))
        await run.permitted()
        return _received(json.loads(document))


def _received(document: dict[str, Any]) -> ReceivedEvent:
    return ReceivedEvent(document["payload"], document["type"], datetime.fromtimestamp(document["sent"], UTC))


def check_run(cls: type) -> list[str]:
    """What is wrong with a class's ``run``, as sentences."""
    method = inspect.getattr_static(cls, "run")
    wanted = "async def run(self, event, step)"
    if not inspect.isfunction(method) or not inspect.iscoroutinefunction(method):
        return [f"{cls.__name__}.run must be a method: {wanted}"]
    try:
        inspect.signature(method).bind(None, None, None)
    except TypeError:
        return [f"{cls.__name__}.run{inspect.signature(method)} can't be called: write {wanted}"]
    return []


__all__ = ["StepContext", "WorkflowError", "WorkflowStep", "check_run"]
