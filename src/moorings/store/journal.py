"""Group commit: what a turn of the event loop writes becomes one transaction, for as many objects as wrote.

Why it exists: one fsync can make a thousand objects' writes durable. While a transaction is being committed, the
turns that go by gather their units in the next batch.

Invariants: a turn's end is a callback of its own, so a unit always holds everything a handler wrote between two
suspensions. One batch is in flight at a time and is given out only between turns, so no unit is split. Only the
loop's thread touches groups, units and batches, but for a batch in flight, which is the writer thread's. A group that
fails is failed here, before the next batch is given out: nothing it queued behind the failure can reach the database.

The database is behind ``Writer``; this file knows no SQL.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

from moorings.errors import StoreError
from moorings.store.base import Args
from moorings.store.commit import Commit
from moorings.store.loan import Loan

Statement = tuple[str, Args, int | None]
"""SQL, its parameters, and the number of rows that it must change (None: any)."""


class Unit(Commit):
    """What one group wrote in one turn."""

    __slots__ = ("group", "statements", "turn")

    def __init__(self, group: WriteGroup, turn: int) -> None:
        super().__init__()
        self.group = group
        self.turn = turn
        self.statements: list[Statement] = []


class Writer(Protocol):
    """A database connection that belongs to the writer thread."""

    def apply(self, batch: Sequence[Unit], waiting: Callable[[], None]) -> Sequence[StoreError | None]:
        """Store the units durably, in order; the outcome of each. With a unit, later ones of its group fail.

        ``waiting()`` is to be called before each long wait for the disk or the network.
        """

    def rest(self) -> None:
        """Called after the outcomes were handed over: the time for housekeeping. Must not raise."""


class WriteGroup:
    """See ``moorings.store.base.Group``."""

    __slots__ = ("_journal", "_last", "failed", "label", "on_failure")

    def __init__(self, journal: Journal, label: str, on_failure: Callable[[StoreError], None] | None) -> None:
        self._journal = journal
        self._last: Unit | None = None
        self.label = label
        self.failed: StoreError | None = None
        self.on_failure = on_failure

    def write(self, sql: str, args: Args = (), *, expect: int | None = None) -> Commit:
        unit = self._last
        if unit is None or unit.turn != self._journal.turn:
            if self.failed is not None:
                raise StoreError(f"{self.label}: an earlier write was not stored ({self.failed})") from self.failed
            self._last = unit = self._journal.open_unit(self)
        unit.statements.append((sql, args, expect))
        return unit

    def pending(self) -> Commit | None:
        unit = self._last
        return None if unit is None or (unit.done() and unit.error is None) else unit


class Journal:
    """The queue between the event loop and the writer thread. Made on the running loop."""

    def __init__(self, writer: Writer, *, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._loan = Loan(self._loop)
        self._batch: list[Unit] = []
        self._in_flight = False
        self._turn_open = False
        self._closed: StoreError | None = None
        self._idle: asyncio.Future[None] | None = None
        self._jobs: SimpleQueue[list[Unit] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name=f"moorings-{name}", daemon=True)
        self._thread.start()
        self.turn = 0
        """Counts the turns in which something was written; part of what a unit is."""
        self.commits = 0
        """Transactions so far, for telemetry."""

    def group(self, label: str, on_failure: Callable[[StoreError], None] | None) -> WriteGroup:
        """A new group of this journal."""
        return WriteGroup(self, label, on_failure)

    def open_unit(self, group: WriteGroup) -> Unit:
        """A unit for what ``group`` writes in this turn. Raises StoreError where the journal is closed."""
        if self._closed is not None:
            raise StoreError(str(self._closed))
        if not self._turn_open:
            self._turn_open = True
            self._loop.call_soon(self._end_turn)
        unit = Unit(group, self.turn)
        self._batch.append(unit)
        return unit

    def _end_turn(self) -> None:
        self.turn += 1
        self._turn_open = False
        if not self._in_flight:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._in_flight = True
            self._jobs.put(batch)
            self._loan.begin()
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _write(self) -> None:
        while (batch := self._jobs.get()) is not None:
            try:
                outcomes = self._writer.apply(batch, self._loan.waiting)
            except Exception as error:  # noqa: BLE001 - the units must have an outcome, and the thread must go on
                broken = StoreError(f"the store failed unexpectedly: {type(error).__name__}: {error}")
                broken.__cause__ = error
                outcomes = [broken] * len(batch)
            try:
                self._loop.call_soon_threadsafe(self._settle, batch, outcomes)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return
            self._loan.returned()
            del batch, outcomes
            self._writer.rest()

    def _settle(self, batch: list[Unit], outcomes: Sequence[StoreError | None]) -> None:
        self._loan.end()
        self._in_flight = False
        self.commits += 1
        failures = [(unit.group, error) for unit, error in zip(batch, outcomes, strict=True) if error is not None]
        lost = self._bury(failures) if failures else {}
        for unit, error in zip(batch, outcomes, strict=True):
            unit.statements = []
            unit.resolve(error)
        for unit, error in lost.items():
            unit.resolve(error)
        for group, error in dict(failures).items():
            self._report(group, error)
        if not self._turn_open and not self._in_flight:
            self._hand_over()

    def _bury(self, failures: Sequence[tuple[WriteGroup, StoreError]]) -> dict[Unit, StoreError]:
        """Mark groups as failed, and take out of the next batch what they had queued in the meantime."""
        for group, error in failures:
            if group.failed is None:
                group.failed = error
        lost = {unit: unit.group.failed for unit in self._batch if unit.group.failed is not None}
        for unit in lost:
            unit.turn = -1  # closed, although its turn may still go on
        if lost:
            self._batch = [unit for unit in self._batch if unit not in lost]
        return lost

    def _report(self, group: WriteGroup, error: StoreError) -> None:
        if group.on_failure is not None:
            try:
                group.on_failure(error)
            except Exception as raised:  # noqa: BLE001 - one owner's mistake must not stop everybody's writes
                context = {"message": f"on_failure of {group.label} failed", "exception": raised}
                self._loop.call_exception_handler(context)

    async def flush(self) -> None:
        """Return when everything queued so far, and meanwhile, has its outcome."""
        while self._batch or self._in_flight:
            if self._idle is None or self._idle.done():
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    async def close(self, error: StoreError) -> None:
        """Commit what is queued and end the thread. Later writes raise ``error``'s message."""
        self._closed = error
        await self.flush()
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
