"""Every instance of an app's workflows: who runs, who waits for a place, and who is due.

One timer waits for the earliest instance that wants to be in memory. An instance that waits, is paused or queued is a
row and nothing else. Rows are read in the order in which they are due, as many as there are places.

Invariants: an instance is in memory at most once (``live``), and runs only after its claim is durable. What becomes of
it is written once, by the owner of its fence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import StoreError
from moorings.objects.escapes import contained
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Notice, Observer
from moorings.store import Group, Store
from moorings.workflows import records
from moorings.workflows.adopting import TaskFactory
from moorings.workflows.attempts import encode_result
from moorings.workflows.definitions import Definition
from moorings.workflows.entrypoint import WorkflowEntrypoint, WorkflowEvent
from moorings.workflows.failures import record
from moorings.workflows.journal import Entry, Journal
from moorings.workflows.lifecycle import StepState, WorkflowStatus
from moorings.workflows.records import EventRow, InstanceRow
from moorings.workflows.run import Leaving, Run
from moorings.workflows.step import WorkflowStep

BATCH: Final = 250
"""Instances that are read at a time."""

TROUBLE: Final = 2.0
"""Seconds until a look that failed is repeated, and an instance whose writes were lost is read again."""

CUT_OFF: Final = 1.0
"""Seconds that code which is cut off at the end gets to end."""

TOGETHER: Final = 0.01
"""Seconds between two looks: what comes due within them is read at once."""

SWEEP: Final = 3600.0
"""Seconds between two looks for instances whose retention has passed."""

_LONGEST_WAIT: Final = 60.0  # seconds; wall time may jump, the clock that timers go by doesn't
_NEVER: Final = float("inf")

Instantiate = Callable[[type[WorkflowEntrypoint]], WorkflowEntrypoint]


class Live:
    """An instance in memory."""

    __slots__ = ("definition", "fence", "group", "over", "row", "run")

    run: Run

    def __init__(self, row: InstanceRow, definition: Definition, group: Group, fence: int) -> None:
        self.row = row
        self.definition = definition
        self.group = group
        self.fence = fence
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def label(self) -> str:
        """For people: the workflow and the instance."""
        return f"{self.row.workflow}/{self.row.id}"


class Engine:
    """Runs instances. ``start`` it once, ``use`` the app's workflows at any time, ``close`` it last."""

    def __init__(self, store: Store, *, clock: Clock, observer: Observer, instantiate: Instantiate) -> None:
        """``store`` has the migrations of ``records``; ``instantiate(cls)`` makes the user's object for one run."""
        self.store = store
        self.clock = clock
        self.observer = observer
        self.definitions: dict[str, Definition] = {}
        self.live: dict[int, Live] = {}
        self._instantiate = instantiate
        self.tasks = Tasks(lambda where, error: observer.notify(ErrorReported(where, error)))
        self._factory = TaskFactory(asyncio.get_running_loop())
        self._busy: dict[str, int] = {}
        self._claiming: set[int] = set()
        self._stubborn: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()
        self._last_key = 0
        self._timer: TimerHandle | None = None
        self._armed_for = _NEVER
        self._sweeper: TimerHandle | None = None
        self._looking = False
        self._again = False
        self._passed_over = False
        self._started = False
        self._stopped = False

    # --- the app's workflows ------------------------------------------------------------------------------------------

    async def start(self, definitions: Iterable[Definition]) -> None:
        """Take over what an earlier platform has left, and begin to run. Raises StoreError."""
        await self.store.group("workflows").write(records.REQUEUE, (self.clock.time(),))
        self._last_key = max(self._last_key, *(key or 0 for (key,) in await self.store.read(records.GREATEST)))
        self._factory.install()
        self._started = True
        self.use(definitions)
        self._sweep()

    def use(self, definitions: Iterable[Definition]) -> None:
        """Go by these workflows from now on. Instances in memory whose class is another now are begun anew with it.

        Instances of a workflow that isn't there stay queued until it is.
        """
        self.definitions = {definition.name: definition for definition in definitions}
        for live in self.live.values():
            if self.definitions.get(live.row.workflow) != live.definition:
                live.run.pause(Leaving.REQUEUED)
        if self._started:
            self.look()

    async def close(self, *, grace: float) -> None:
        """Begin nothing more; give steps that run ``grace`` seconds to end and be recorded, then cut them off.

        Cut-off attempts are not charged; the instances go on with the next start.
        """
        self._stopped = True
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        for live in self.live.values():
            live.run.pause(Leaving.REQUEUED)
        try:
            async with asyncio.timeout(grace):
                await self.tasks.settle()
        except TimeoutError:
            for live in self.live.values():
                live.run.leave(Leaving.TAKEN)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CUT_OFF):
                    await self.tasks.settle()
            await self.tasks.close()
        finally:
            self._factory.remove()

    def left_over(self) -> list[str]:
        """Whose code has not ended although it was cancelled."""
        return sorted({label for task, label in self._stubborn.items() if not task.done()})

    # --- instances ----------------------------------------------------------------------------------------------------

    def new_key(self) -> int:
        """A key that no instance and no event has: it grows, also where the clock was set back."""
        self._last_key = max(self._last_key + 1, int(self.clock.time() * 1e6) << 10)
        return self._last_key

    def has_place(self, definition: Definition) -> bool:
        """Whether an instance of the workflow may begin now."""
        return not self._stopped and self._busy.get(definition.name, 0) < definition.max_concurrency

    def reserve(self, definition: Definition) -> None:
        """Take a place for an instance."""
        self._busy[definition.name] = self._busy.get(definition.name, 0) + 1

    def release(self, definition: Definition) -> None:
        """Give a place back."""
        self._busy[definition.name] -= 1
        if self._passed_over:
            self.look()

    def begin(self, row: InstanceRow, definition: Definition) -> None:
        """Run an instance that was created just now; its place is taken."""
        live = self._hold(row, definition, row.fence)
        self.tasks.spawn(live.label, self._work(live, claim=False))

    def _hold(
        self,
        row: InstanceRow,
        definition: Definition,
        fence: int,
        steps: Iterable[tuple[Any, ...]] = (),
        events: Iterable[EventRow] = (),
    ) -> Live:
        group = self.store.group(f"workflow {row.workflow}/{row.id}", on_failure=lambda error: self._lost(row, error))
        live = self.live[row.key] = Live(row, definition, group, fence)
        module = sys.modules.get(definition.cls.__module__)
        live.run = Run(
            Journal(row.key, fence, group, steps=steps, events=events),
            clock=self.clock,
            names={} if module is None else vars(module),
            attempt_failed=lambda entry, error: self._attempt_failed(live, entry, error),
        )
        return live

    def _lost(self, row: InstanceRow, error: StoreError) -> None:
        live = self.live.get(row.key)
        if live is not None:
            live.run.leave(Leaving.LOST)
        self.observer.notify(ErrorReported(f"workflow {row.workflow}/{row.id}", error))

    # --- who is due ---------------------------------------------------------------------------------------------------

    def wake_at(self, due: float) -> None:
        """An instance is stored that wants to be in memory then (Unix seconds)."""
        if self._stopped or not self._started or self._armed_for <= due:
            return
        if due <= self.clock.time():
            self.look()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        self._timer = self.clock.call_later(min(_LONGEST_WAIT, max(0.0, due - self.clock.time())), self._expired)

    def _expired(self) -> None:
        self._timer, self._armed_for = None, _NEVER
        self.look()

    def look(self) -> None:
        """Begin what is due, as far as there are places."""
        if self._stopped:
            return
        if self._looking:
            self._again = True
            return
        self._looking = True
        self.tasks.spawn("workflows", self._look())

    async def _look(self) -> None:
        try:
            self._again = True
            while self._again and not self._stopped:
                self._again = self._passed_over = False
                following = _NEVER
                for definition in tuple(self.definitions.values()):
                    following = min(following, await self._look_for(definition))
                if following < _NEVER:
                    self.wake_at(max(following, self.clock.time() + TOGETHER))
                await asyncio.sleep(0)
        except StoreError as error:
            self.observer.notify(ErrorReported("workflows", error))
            self.wake_at(self.clock.time() + TROUBLE)
        finally:
            self._looking = False

    async def _look_for(self, definition: Definition) -> float:
        """Begin the due instances of one workflow. Returns when the next is due."""
        now = self.clock.time()
        free = max(0, min(BATCH, definition.max_concurrency - self._busy.get(definition.name, 0)))
        limit = free + len(self._claiming) + 1
        rows = [records.instance_of(r) for r in await self.store.read(records.DUE, (definition.name, now, limit))]
        due = [row for row in rows if row.key not in self.live]
        if len(due) > free == BATCH:
            self._again = True
        elif len(due) > free or any(row.key in self.live and row.key not in self._claiming for row in rows):
            self._passed_over = True  # until somebody gives a place back
        await self._load(definition, due[:free])
        following = await self.store.read(records.NEXT, (definition.name, now))
        return _NEVER if following[0][0] is None else float(following[0][0])

    async def _load(self, definition: Definition, rows: list[InstanceRow]) -> None:
        keys = [row.key for row in rows]
        steps: dict[int, list[tuple[Any, ...]]] = {key: [] for key in keys}
        events: dict[int, list[EventRow]] = {key: [] for key in keys}
        if keys:
            for step in await self.store.read(records.steps_of(len(keys)), keys):
                steps[step[0]].append(step)
            for key, *event in await self.store.read(records.events_of(len(keys)), keys):
                events[key].append(EventRow(*event))
        for row in rows:
            if self._stopped or row.key in self.live:
                continue
            self.reserve(definition)
            live = self._hold(row, definition, row.fence + 1, steps[row.key], events[row.key])
            self._claiming.add(row.key)
            self.tasks.spawn(live.label, self._work(live, claim=True))

    # --- one instance -------------------------------------------------------------------------------------------------

    async def _work(self, live: Live, *, claim: bool) -> None:
        """Own an instance from here until it is left."""
        key, run = live.row.key, live.run
        try:
            if claim:
                try:
                    await live.group.write(records.CLAIM, (key, live.fence - 1), expect=1)
                except StoreError:
                    self.wake_at(self.clock.time() + TROUBLE)
                    return  # reported; somebody else has it, or it is tried again
                finally:
                    self._claiming.discard(key)
            if self._stopped or self.definitions.get(live.row.workflow) != live.definition:
                run.leave(Leaving.REQUEUED)
            root = await run.execute(lambda: self._code(live))
            if run.tasks:
                self._give_up(live, run)
            await self._left(live, run, root)
        finally:
            self.live.pop(key, None)
            self.release(live.definition)
            live.over.set_result(None)

    def _give_up(self, live: Live, run: Run) -> None:
        """Go on without code that doesn't let itself be cancelled."""
        self._stubborn.update(dict.fromkeys(run.tasks, live.label))
        what = f"workflow {live.label}: its code catches its cancellation and goes on; it is left behind"
        self.observer.notify(Notice("warning", what, "catch Exception instead: a bare except takes CancelledError too"))

    async def _code(self, live: Live) -> str:
        """The user's code, and its result as JSON."""
        row = live.row
        event = WorkflowEvent(json.loads(row.params), datetime.fromtimestamp(row.created, UTC), row.id, row.workflow)
        try:
            result = await self._instantiate(live.definition.cls).run(event, WorkflowStep(live.run))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise contained(error, f"the workflow {live.label}") from error
        return encode_result(result, f"the output of {live.label}")

    async def _left(self, live: Live, run: Run, root: asyncio.Task[Any]) -> None:
        """Write what becomes of an instance whose code was left. The last write of its owner."""
        now = self.clock.time()
        wake: float | None = None
        with contextlib.suppress(StoreError):  # reported
            match run.leaving:
                case Leaving.PARKED:
                    wake = await self._park(live, run)
                case Leaving.PAUSED:
                    await self._move(live, WorkflowStatus.PAUSED, None)
                case Leaving.REQUEUED:
                    wake = now
                    await self._move(live, WorkflowStatus.QUEUED, now)
                case Leaving.CHANGED:
                    assert run.problem is not None
                    await self._end(live, None, run.problem)
                case Leaving.ENDED:
                    await self._ended(live, run, root)
                case Leaving.LOST:
                    wake = now + TROUBLE
                    await self.store.group("workflows").write(records.REQUEUE_ONE, (wake, live.row.key, live.fence))
                case Leaving.TAKEN:
                    pass
        if wake is not None:
            self.wake_at(wake)

    async def _ended(self, live: Live, run: Run, root: asyncio.Task[Any]) -> None:
        cancelled = asyncio.CancelledError("run() was cancelled by its own code")
        error: BaseException | None = cancelled if root.cancelled() else root.exception()
        if run.journal.unmet:
            error = run.code_changed(error=error)
        await self._end(live, None if error is not None else root.result(), error)

    async def _park(self, live: Live, run: Run) -> float | None:
        """Store that an instance waits, and until when; an event that comes meanwhile wakes it at once."""
        now = self.clock.time()
        due = now if run.awaits_any() else run.wake()
        wake = None if due == _NEVER else due
        await live.group.write(records.PARK, (now, wake, live.row.key, live.fence), expect=1)
        return now if run.awaits_any() else wake

    async def _move(self, live: Live, status: WorkflowStatus, wake: float | None) -> None:
        await live.group.write(records.MOVE, (status, wake, live.row.key, live.fence), expect=1)

    async def _end(self, live: Live, output: str | None, error: BaseException | None) -> None:
        now = self.clock.time()
        kept = live.definition.retention if live.row.retention is None else live.row.retention
        status = WorkflowStatus.COMPLETE if error is None else WorkflowStatus.ERRORED
        told = None if error is None else record(error)
        await live.group.write(records.END, (status, output, told, now, now + kept, live.row.key, live.fence), expect=1)
        if error is not None:
            self.observer.notify(ErrorReported(f"workflow {live.label}", error))

    def _attempt_failed(self, live: Live, entry: Entry, error: Exception) -> None:
        what = f"workflow {live.label}: the step {entry.name!r} failed (attempt {entry.attempts})"
        if entry.state is StepState.RETRYING and entry.due is not None:
            what += f", and is tried again in {max(0.0, entry.due - self.clock.time()):.3g} s"
        self.observer.notify(Notice("warning", what, f"{type(error).__name__}: {error}"))

    # --- retention ----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        if not self._stopped:
            self._sweeper = self.clock.call_later(SWEEP, self._sweep)
            self.tasks.spawn("retention of workflows", self._forget_expired())

    async def _forget_expired(self) -> None:
        while keys := await self.store.read(records.EXPIRED, (self.clock.time(), BATCH)):
            group = self.store.group("workflows")
            for (key,) in keys:
                for statement in records.FORGET:
                    commit = group.write(statement, (key,))
            await commit
            if self._stopped:
                return
