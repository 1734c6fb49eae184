"""One instance while it is in memory: its tasks, what they wait for, and how it leaves.

The code may be left whenever all of it waits (``quiet``) and nothing is due soon: then its tasks are cancelled, and
what is left is rows. Whoever leaves is *unwinding*: from then on nothing that the code asks for happens, also in its
``finally`` blocks, and nothing of it is recorded.

Code that catches its cancellation and goes on is cancelled again, and in the end forgotten: it can't reach the platform
any more, and its instance needn't wait for it.

Invariants: a new step is not begun while recorded ones have not been asked for (``admitted``), so changed code fails
before it does anything. While pausing, no attempt begins; the run is left when the last one is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from enum import Enum
from typing import Any, Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import NonRetryableError, StepNameUsed, StoreError, WorkflowCodeChanged
from moorings.objects.running import current_code
from moorings.store import Commit
from moorings.workflows.journal import Entry, Journal
from moorings.workflows.lifecycle import StepKind, StepState
from moorings.workflows.quiet import is_quiet
from moorings.workflows.records import EventRow

HOLD: Final = 1.0
"""Seconds that a run is kept in memory for what is due within them."""

_NEVER: Final = float("inf")
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 5.0
_STILL: Final = 3
"""Turns of the loop that all has to wait for: what a task's end sets going (``gather``'s future) takes some to show."""
_LONGEST_TIMER: Final = 60.0  # seconds; wall time may jump, the clock that timers go by doesn't
PATIENCE: Final = 10.0
"""Seconds that code which is left gets for what it does in the end, before it is cancelled again."""
AGAIN: Final = 1.0
"""Seconds between two further cancellations."""
_ROUNDS: Final = 3
_MANY: Final = 100
"""Refusals after which code that asks on and on is held: nothing else would run any more."""


class Leaving(Enum):
    """Why a run is left."""

    ENDED = "ended"  # run() has returned or raised
    PARKED = "parked"
    PAUSED = "paused"
    CHANGED = "changed"  # the code asks for other steps than those recorded
    REQUEUED = "requeued"  # to go on with other code
    TAKEN = "taken"  # somebody else has decided what becomes of it
    LOST = "lost"  # its writes are not stored


class Run:
    """The code of one instance, from its beginning or its replay until it is left."""

    __slots__ = (
        "_checking", "_deferred", "_events", "_look", "_looking", "_over", "_permits", "_poll", "_refusals", "_still",
        "_told", "_waits", "active", "clock", "journal", "leaving", "names", "pausing", "problem", "root", "steps",
        "tasks", "unwinding",
    )  # fmt: skip

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        names: Mapping[str, Any],
        attempt_failed: Callable[[Entry, Exception], None],
    ) -> None:
        """``names`` are those of the worker's file; ``attempt_failed`` is told of attempts that raised."""
        self.journal = journal
        self.clock = clock
        self.names = names
        self.active = 0
        self.pausing = False
        self.unwinding = False
        self.leaving = Leaving.ENDED
        self.problem: WorkflowCodeChanged | None = None
        self.root: asyncio.Task[Any] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.steps: set[Any] = set()
        self._told = attempt_failed
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refusals = 0
        self._waits: dict[asyncio.Future[Any], float] = {}
        self._events: list[tuple[str, asyncio.Future[Any]]] = []
        self._deferred: list[tuple[Entry, asyncio.Future[Any]]] = []
        self._permits: list[asyncio.Future[Any]] = []
        self._checking = False
        self._still = 0
        self._poll: TimerHandle | None = None
        self._looking: tuple[float, TimerHandle] | None = None
        self._look = _FIRST_LOOK

    # --- the code's tasks ---------------------------------------------------------------------------------------------

    async def execute(self, code: Callable[[], Any]) -> asyncio.Task[Any]:
        """Run ``code()``, a coroutine, until it has ended or was left, and all tasks that it made with it.

        ``tasks`` has those afterwards that don't let themselves be cancelled.
        """
        context = Context()
        context.run(current_code.set, self)
        if self.unwinding:
            root = asyncio.get_running_loop().create_task(_nothing())
        else:
            root = asyncio.get_running_loop().create_task(code(), context=context)
        self.root = root
        self.adopt(root)
        await self._over
        if not self.unwinding:
            self.leaving = Leaving.ENDED  # also where it was being paused
        self._unwind()
        await asyncio.wait((root,), timeout=PATIENCE)
        for _ in range(_ROUNDS):
            if self.tasks:
                await asyncio.wait(self.tasks, timeout=AGAIN)
            for task in tuple(self.tasks):
                task.cancel()
        for handle in (self._poll, None if self._looking is None else self._looking[1]):
            if handle is not None:
                handle.cancel()
        return root

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take a task that the code has made as a part of the run."""
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if task is self.root:
            _release(self._over)
        if self.unwinding and not task.cancelled():
            task.exception()  # what code raises that was cut off interests nobody
        self.changed()

    def leave(self, why: Leaving) -> None:
        """Unwind the code. The first reason counts, unless somebody else has decided since, or the writes are lost."""
        decided = why is Leaving.TAKEN or (why is Leaving.LOST and self.leaving is not Leaving.TAKEN)
        if decided or self.leaving is Leaving.ENDED:
            self.leaving = why
        self._unwind()

    def _unwind(self) -> None:
        if self.unwinding:
            return
        self.unwinding = True
        _release(self._over)
        for code in self.steps:
            code.unwinding = True
        if self.root is not None:
            self.root.cancel()
        for task in tuple(self.tasks):
            task.cancel()

    def pause(self, why: Leaving) -> None:
        """Leave when the attempts that are under way are recorded; begin no others."""
        if not self.unwinding:
            self.pausing = True
            if self.leaving is not Leaving.PAUSED:
                self.leaving = why
            self.changed()

    def go_on(self) -> None:
        """Take a pause back that has not come to its end."""
        self.pausing = False
        self.leaving = Leaving.ENDED
        for waiter in self._permits:
            _release(waiter)
        self._permits.clear()

    # --- what steps ask for -------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Unix seconds."""
        return self.clock.time()

    def enter(self, name: str, kind: StepKind) -> Entry:
        """The step of that name, asked for now.

        Raises StepNameUsed, NonRetryableError inside of another step's function, and CancelledError while unwinding.
        """
        self.refuse()
        if current_code.get() in self.steps:  # a replay has the outer one's result, and would never ask for this one
            raise NonRetryableError(
                f"the step {name!r} is begun inside of another step's function; begin it in run(), before or after "
                "that step, or do its work right there"
            )
        journal = self.journal
        entry = journal.entries.get(name)
        if entry is None:
            entry = Entry(name, len(journal.entries), kind, StepState.RUNNING, self.clock.time())
            entry.fresh = entry.used = True
            journal.entries[name] = entry
            return entry
        if entry.used:
            raise StepNameUsed(
                f"the step name {name!r} is used a second time in this run; each step needs a name of its own: in a "
                f'loop, put the item into it, as in step.do(f"{name} {{item}}", ...)'
            )
        entry.used = True
        if entry.kind != kind:
            entry.used = False
            self._changed_code(f"{name!r} ({kind})")
            raise asyncio.CancelledError
        journal.unmet -= 1
        if not journal.unmet:
            for _, waiter in self._deferred:
                _release(waiter)
            self._deferred.clear()
        return entry

    async def turn(self) -> None:
        """Let tasks that the code has made begin, as they did while the step that is recorded now was done."""
        if len(self.tasks) > 1:
            await asyncio.sleep(0)
            self.refuse()

    def refuse(self) -> None:
        """Raises CancelledError while unwinding."""
        if self.unwinding:
            raise asyncio.CancelledError("the platform does nothing for code that is being unwound")

    async def refused(self) -> None:
        """Raise CancelledError while unwinding: at once, or, for code that asks on and on, when cancelled again."""
        self._refusals += 1
        if self._refusals > _MANY:
            await asyncio.get_running_loop().create_future()
        self.refuse()

    async def admitted(self, entry: Entry) -> None:
        """Hold a step that isn't recorded until the code has asked for all those that are."""
        waiter = asyncio.get_running_loop().create_future()
        self._deferred.append((entry, waiter))
        await self._wait(waiter, _NEVER)

    async def permitted(self) -> None:
        """Hold the code while the run is being paused."""
        while self.pausing:
            waiter = asyncio.get_running_loop().create_future()
            self._permits.append(waiter)
            await self._wait(waiter, _NEVER)

    async def until(self, due: float) -> None:
        """Return at ``due`` (Unix seconds)."""
        if due > self.clock.time():
            await self._wait(asyncio.get_running_loop().create_future(), due)
        else:
            await self.turn()
        self.refuse()

    async def event(self, event_type: str, due: float) -> EventRow | None:
        """The earliest event of a type that nobody has taken; None where none came until ``due``."""
        event = self.journal.take_event(event_type)
        if event is None and due > self.clock.time():
            waiter = asyncio.get_running_loop().create_future()
            self._events.append((event_type, waiter))
            event = await self._wait(waiter, due)
        self.refuse()
        return event

    def receive(self, event: EventRow) -> None:
        """An event was sent; its row is durable, so the run may have found it already."""
        if event.number in self.journal.known_events:
            return
        self.journal.known_events.add(event.number)
        for index, (event_type, waiter) in enumerate(self._events):
            if event_type == event.type and not waiter.done():
                del self._events[index]
                waiter.set_result(event)
                return
        self.journal.events.append(event)

    def awaits_any(self) -> bool:
        """Whether an event is there for a step that waits."""
        waiting = {e.event_type for e in self.journal.entries.values() if e.state is StepState.WAITING}
        return any(event.type in waiting for event in self.journal.events)

    def write(self, entry: Entry) -> Commit:
        """Store a step as it is now. Raises CancelledError where the run's writes are lost."""
        self.refuse()
        try:
            return self.journal.write(entry)
        except StoreError as error:
            self.leave(Leaving.LOST)
            raise asyncio.CancelledError from error

    async def recorded(self, commit: Commit) -> None:
        """Return when a write is durable. Raises CancelledError where it is lost."""
        try:
            await commit
        except StoreError as error:
            self.leave(Leaving.LOST)
            raise asyncio.CancelledError from error
        self.refuse()

    def attempt_failed(self, entry: Entry, error: Exception) -> None:
        """An attempt raised; what follows from it is recorded."""
        self._told(entry, error)

    # --- waiting, and leaving -----------------------------------------------------------------------------------------

    async def _wait(self, waiter: asyncio.Future[Any], due: float) -> Any:
        self._waits[waiter] = due
        self._arm()
        self.changed()
        try:
            return await waiter
        finally:
            del self._waits[waiter]
            self._events = [each for each in self._events if each[1] is not waiter]

    def _arm(self) -> None:
        due = min(self._waits.values(), default=_NEVER)
        if due == _NEVER or self.unwinding or (self._looking is not None and self._looking[0] <= due):
            return
        if self._looking is not None:
            self._looking[1].cancel()
        wait = min(_LONGEST_TIMER, due - self.clock.time())
        self._looking = (due, self.clock.call_later(wait, self._due))

    def _due(self) -> None:
        self._looking = None
        now = self.clock.time()
        for waiter, due in self._waits.items():
            if due <= now:
                _release(waiter)
        self._waits_left()

    def _waits_left(self) -> None:
        left = {waiter: due for waiter, due in self._waits.items() if not waiter.done()}
        due = min(left.values(), default=_NEVER)
        if due != _NEVER and not self.unwinding:
            wait = min(_LONGEST_TIMER, due - self.clock.time())
            self._looking = (due, self.clock.call_later(wait, self._due))

    def changed(self) -> None:
        """Something began to wait, or ended: see soon whether all of the run waits now."""
        if not self._checking and not self.unwinding and not self.active and (self._waits or self.pausing):
            self._checking = True
            self._still = 0
            self._look = _FIRST_LOOK
            asyncio.get_running_loop().call_soon(self._check)

    def _check(self) -> None:
        self._checking = False
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if self.unwinding or self.active:
            return
        if self.pausing:
            self._unwind()
            return
        if not self._waits:
            return
        if not is_quiet(self.tasks, self._waits):
            # What ends or begins to wait for a step says so; a change from one foreign wait to another doesn't.
            self._poll = self.clock.call_later(self._look, self._check)
            self._look = min(_LAST_LOOK, self._look * 2)
            self._still = 0
        elif self._still < _STILL:
            self._still += 1
            self._checking = True
            asyncio.get_running_loop().call_soon(self._check)
        elif self.journal.unmet:
            self._changed_code("")
        elif self.wake() - self.clock.time() > HOLD:
            self.leave(Leaving.PARKED)

    def wake(self) -> float:
        """When the earliest of what the run waits for is due (Unix seconds)."""
        return min(
            (entry.due for entry in self.journal.entries.values() if entry.due is not None and _waiting(entry)),
            default=_NEVER,
        )

    @property
    def held(self) -> bool:
        """Whether all of the run seems to wait, although it is in memory."""
        return not self.active and bool(self._waits) and not self.pausing

    def code_changed(self, asked: str = "", error: BaseException | None = None) -> WorkflowCodeChanged:
        """The error for code that doesn't ask for what is recorded."""
        recorded = ", ".join(self.journal.unmet_names())
        wanted = [f"{entry.name!r} ({entry.kind})" for entry, _ in self._deferred]
        wanted += [asked] if asked else []
        told = "the code asks for " + ", ".join(wanted) if wanted else "the code asks for no other step"
        if error is not None:
            told = f"run() raised {type(error).__name__}: {error}"
        return WorkflowCodeChanged(
            f"the code has changed under this instance: it has recorded the steps {recorded}, and {told}; put the code "
            "back and resume the instance, or restart it to begin anew"
        )

    def _changed_code(self, asked: str) -> None:
        self.problem = self.code_changed(asked)
        self.leave(Leaving.CHANGED)


def _waiting(entry: Entry) -> bool:
    return entry.used and entry.state in (StepState.WAITING, StepState.RETRYING)


def _release(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _nothing() -> None:
    return None
