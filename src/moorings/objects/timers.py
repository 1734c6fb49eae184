"""Alarms and schedules: rows with a due time, and the one timer that waits for the earliest.

A timer that is not due costs a row and nothing else. Delivery is at least once: the row stays until its handler has
returned, and is deleted only as the version that was delivered, so a timer that the handler has set anew is not lost. A
handler that raises is called again after 2 s, doubling, six times; then the timer is given up with an error.

An object has at most one alarm and any number of schedules; each is a row of its own, and none disturbs another.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from moorings.clock import Clock, TimerHandle
from moorings.errors import MooringsError, StoreError
from moorings.objects.tasks import Tasks
from moorings.store import Args, Migration, Store

MIGRATIONS: Final = (
    Migration(
        "objects.timers",
        1,
        (
            """CREATE TABLE objects_timers (
                 object BLOB NOT NULL,
                 kind TEXT NOT NULL,
                 id TEXT NOT NULL,
                 class_name TEXT NOT NULL,
                 name TEXT,
                 due REAL NOT NULL,
                 callback TEXT NOT NULL,
                 payload BLOB,
                 attempts INTEGER NOT NULL,
                 version TEXT NOT NULL,
                 PRIMARY KEY (object, kind, id)
               )""",
            "CREATE INDEX objects_timers_due ON objects_timers (due)",
        ),
    ),
)

FIRST_RETRY: Final = 2.0
"""Seconds before a handler that raised is called again; doubled each time (Cloudflare: the same)."""

RETRIES: Final = 6
"""How many times a handler that raises is called again."""

BATCH: Final = 100
"""How many timers are under way at once; the rest wait as rows."""

LAST_SECOND: Final = 253_402_300_800.0
"""The end of the year 9999, in Unix seconds."""

_LONGEST_WAIT: Final = 60.0  # seconds; wall time may jump, the clock that timers go by doesn't
_CROWDED_WAIT: Final = 0.05  # until free places are filled, where most of a batch is still under way

UNDELIVERABLE_WAIT: Final = 60.0
"""Seconds before a timer whose class is not there is looked at again; it is kept, and no attempt is counted."""


class Undeliverable(MooringsError):
    """There is nobody to deliver a timer to: the app has no class of that name."""

    code = "undeliverable"


class TimerKind(StrEnum):
    """What a timer is; the user sees alarms and schedules."""

    ALARM = "alarm"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class TimerOwner:
    """Whose timers they are."""

    object: bytes
    class_name: str
    name: str | None


@dataclass(frozen=True, slots=True)
class TimerRow:
    """One timer as it is stored. ``due`` is in Unix seconds; ``callback`` names the method; ``payload`` is encoded."""

    object: bytes
    kind: TimerKind
    id: str
    class_name: str
    name: str | None
    due: float
    callback: str
    payload: bytes | None
    attempts: int
    version: str

    @property
    def key(self) -> tuple[bytes, str, str]:
        """What identifies the row."""
        return (self.object, self.kind, self.id)


_COLUMNS = "object, kind, id, class_name, name, due, callback, payload, attempts, version"
_NAMES = _COLUMNS.split(", ")
_SET = (
    f"INSERT INTO objects_timers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (object, kind, id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[3:])
)
_DELETE = "DELETE FROM objects_timers WHERE object = ? AND kind = ? AND id = ?"
_DONE = "DELETE FROM objects_timers WHERE object = ? AND kind = ? AND id = ? AND version = ?"
_RETRY = (
    "UPDATE objects_timers SET due = ?, attempts = ?, version = ? "
    "WHERE object = ? AND kind = ? AND id = ? AND version = ?"
)
_ALARM_DUE = "SELECT due FROM objects_timers WHERE object = ? AND kind = 'alarm' AND id = ''"
_SCHEDULES = f"SELECT {_COLUMNS} FROM objects_timers WHERE object = ? AND kind = 'schedule' ORDER BY due, id"
_DUE = f"SELECT {_COLUMNS} FROM objects_timers WHERE due <= ? ORDER BY due, object, kind, id LIMIT ?"
_NEXT = "SELECT min(due) FROM objects_timers"
_NEXT_AFTER = "SELECT min(due) FROM objects_timers WHERE due > ?"

Statement = tuple[str, Args]


def seconds(when: datetime) -> float:
    """A datetime in Unix seconds; a naive one is local time. Raises ValueError."""
    try:
        return when.timestamp()
    except (OverflowError, OSError, ValueError):  # local time at the very ends of what a datetime holds
        raise ValueError(f"{when!r} is out of range: a time lies in the years 1970 to 9999") from None


def checked(due: float, when: object) -> float:
    """``due`` (Unix seconds), which ``when`` stands for. Raises ValueError outside of the years 1970 to 9999."""
    if not 0 <= due < LAST_SECOND:
        raise ValueError(f"{when!r} is out of range: a time lies in the years 1970 to 9999")
    return due


def _version() -> str:
    return secrets.token_hex(8)


def set_alarm(owner: TimerOwner, due: float) -> Statement:
    """The statement that sets an object's one alarm."""
    row = (owner.object, TimerKind.ALARM, "", owner.class_name, owner.name, due, "alarm", None, 0, _version())
    return _SET, row


def delete_alarm(owner: TimerOwner) -> Statement:
    """The statement that leaves an object without an alarm."""
    return _DELETE, (owner.object, TimerKind.ALARM, "")


def alarm_due(owner: TimerOwner) -> Statement:
    """The query for when an object's alarm is due."""
    return _ALARM_DUE, (owner.object,)


def set_schedule(owner: TimerOwner, timer_id: str, due: float, callback: str, payload: bytes) -> Statement:
    """The statement that adds a schedule."""
    kind = TimerKind.SCHEDULE
    return _SET, (owner.object, kind, timer_id, owner.class_name, owner.name, due, callback, payload, 0, _version())


def delete_schedule(owner: TimerOwner, timer_id: str) -> Statement:
    """The statement that removes a schedule."""
    return _DELETE, (owner.object, TimerKind.SCHEDULE, timer_id)


def schedules(owner: TimerOwner) -> Statement:
    """The query for an object's schedules, the earliest first."""
    return _SCHEDULES, (owner.object,)


def row_of(values: tuple[Any, ...]) -> TimerRow:
    """A row of the table as a record."""
    return msgspec.convert(dict(zip(_NAMES, values, strict=True)), TimerRow)


def retry_after(attempts: int) -> float | None:
    """Seconds until the next call after ``attempts`` failed ones; None where it is given up."""
    return None if attempts > RETRIES else FIRST_RETRY * 2.0 ** (attempts - 1)


class Timers:
    """Delivers timers that are due. One loop timer, for the earliest row; a bounded number of deliveries at once."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        deliver: Callable[[TimerRow], Awaitable[None]],
        settled: Callable[[TimerRow], None],
        report: Callable[[TimerRow | None, BaseException], None],
    ) -> None:
        """``deliver(row)`` calls the handler, and raises what it raised.

        ``settled(row)`` follows when what became of the row is stored; ``report`` gets the errors that nobody else can
        receive.
        """
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._settled = settled
        self._report = report
        self._tasks = Tasks(lambda where, error: report(None, error))
        self._running: dict[tuple[bytes, str, str], str] = {}
        self._left_over = False
        self._timer: TimerHandle | None = None
        self._armed_for: float | None = None
        self._looking = False
        self._look_again = False
        self._stopped = True

    async def start(self) -> None:
        """Begin to deliver. Raises StoreError."""
        self._stopped = False
        rows = await self._store.read(_NEXT)
        if rows[0][0] is not None:
            self.changed(rows[0][0])

    async def stop(self) -> None:
        """Deliver no more. What is under way is cancelled: its row stays, and it is delivered again."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._tasks.close()

    def changed(self, due: float | None) -> None:
        """A timer was stored that is due then (Unix seconds); None where one was deleted, which needs nothing."""
        if self._stopped or due is None or (self._armed_for is not None and self._armed_for <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        wait = min(_LONGEST_WAIT, max(0.0, due - self._clock.time()))
        self._timer = self._clock.call_later(wait, self._wake)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_for = None
        if self._looking:
            self._look_again = True
        elif not self._stopped:
            self._looking = True
            self._tasks.spawn("timers", self._look())

    async def _look(self) -> None:
        """Deliver what is due, and arm the timer for what comes next."""
        try:
            self._look_again = True
            while self._look_again and len(self._running) < BATCH:
                self._look_again = False
                now = self._clock.time()
                limit = BATCH + len(self._running)
                rows = await self._store.read(_DUE, (now, limit))
                self._left_over = len(rows) == limit
                for row in map(row_of, rows):
                    version = self._running.get(row.key)
                    if version is None and len(self._running) < BATCH:
                        self._running[row.key] = row.version
                        self._tasks.spawn("timer", self._run(row))
                    elif version != row.version:
                        self._left_over = True
                following = await self._store.read(_NEXT_AFTER, (now,))
                self.changed(following[0][0])
            self._left_over |= self._look_again
        except StoreError as error:
            self._report(None, error)
            self.changed(self._clock.time() + FIRST_RETRY)
        finally:
            self._looking = False

    async def _run(self, row: TimerRow) -> None:
        try:
            try:
                await self._deliver(row)
            except Undeliverable as error:
                self._report(row, error)
                await self._later(row, UNDELIVERABLE_WAIT, row.attempts)
            except Exception as error:  # noqa: BLE001  # whatever the handler raises is tried again
                await self._failed(row, error)
            else:
                await self._write(row, _DONE, (*row.key, row.version))
            self._settled(row)
        finally:
            del self._running[row.key]
            if self._left_over and not self._stopped:
                if len(self._running) <= BATCH // 2:
                    self._wake()
                else:
                    self.changed(self._clock.time() + _CROWDED_WAIT)

    async def _failed(self, row: TimerRow, error: BaseException) -> None:
        attempts = row.attempts + 1
        wait = retry_after(attempts)
        self._report(row, error)
        if wait is None:
            self._report(row, RuntimeError(f"{row.callback} was given up after {RETRIES} retries"))
            await self._write(row, _DONE, (*row.key, row.version))
            return
        await self._later(row, wait, attempts)

    async def _later(self, row: TimerRow, wait: float, attempts: int) -> None:
        due = self._clock.time() + wait
        if await self._write(row, _RETRY, (due, attempts, _version(), *row.key, row.version)):
            self.changed(due)

    async def _write(self, row: TimerRow, sql: str, args: Args) -> bool:
        try:
            await self._store.group(f"{row.kind} of {row.class_name}").write(sql, args)
        except StoreError as error:
            self._report(row, error)
            self.changed(self._clock.time() + FIRST_RETRY)  # the row is still there, and due
            return False
        return True
