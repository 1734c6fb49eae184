"""``ctx.storage``: an object's durable keys, its alarm, and the way to its private database.

Writes are plain functions: they take effect at the call. Until its commit is durable, a write lives in an overlay
over the stored rows, so reads see it at once, and a read never waits for a disk that is being written. Awaiting a
write does not wait for the disk; the output gate (``pending``) and ``sync`` do.

Invariants: an overlay entry disappears only when the very commit that stored it has succeeded. What an object writes
in one turn of the event loop is one unit of the store. After a failed unit the overlay is worthless: everything
raises until ``reset`` has gone back to what is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol, TypeVar, overload

from moorings.clock import Clock
from moorings.errors import StoreError
from moorings.objects import key_value, timers
from moorings.objects.key_value import UNSET
from moorings.objects.keys import Range, overlaid, range_of
from moorings.objects.pending import NOTHING, AllOf
from moorings.objects.sql import Sql
from moorings.objects.sql_files import SqlFiles
from moorings.objects.timers import TimerOwner
from moorings.objects.transaction import Transaction
from moorings.store import Commit, Migration, Store

T = TypeVar("T")

MIGRATIONS: Final = (
    Migration(
        "objects.storage",
        1,
        (
            "CREATE TABLE objects_keys (object BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, "
            "PRIMARY KEY (object, key))",
        ),
    ),
)

_PUT: Final = (
    "INSERT INTO objects_keys (object, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (object, key) DO UPDATE SET value = excluded.value"
)
_DELETE: Final = "DELETE FROM objects_keys WHERE object = ? AND key = ?"
_DELETE_ALL: Final = "DELETE FROM objects_keys WHERE object = ?"
_GET: Final = "SELECT value FROM objects_keys WHERE object = ? AND key = ?"
_KEYS_A_QUERY: Final = 500


class Alarms(Protocol):
    """Who wakes the object when its alarm is due; one for each object."""

    def check(self) -> None:
        """Raises TypeError where the object's class has no ``alarm`` to call."""

    def changed(self, due: float | None) -> None:
        """The alarm is durable: when it is due (Unix seconds), or None where it was deleted. Must not raise."""


class Exclusive(Protocol):
    """Runs a closure while no other event of the object is delivered (``block_concurrency_while``)."""

    def __call__(self, closure: Callable[[], Awaitable[T]], /) -> Awaitable[T]: ...


class Storage:
    """The storage of one object (Cloudflare: DurableObjectStorage).

    Everything raises StoreError where the store cannot be written or read. Keys are 1 to 2,048 bytes of UTF-8; values
    are of the types that RPC copies, at most 2 MiB encoded. TypeError and ValueError name the key that does not fit;
    nothing of that call is written then.
    """

    __slots__ = (
        "_alarm",
        "_alarms",
        "_cleared",
        "_clock",
        "_commit",
        "_commit_keys",
        "_exclusive",
        "_files",
        "_group",
        "_label",
        "_object",
        "_on_failure",
        "_on_write",
        "_overlay",
        "_sql",
        "_store",
        "owner",
    )

    def __init__(
        self,
        store: Store,
        owner: TimerOwner,
        *,
        label: str,
        files: SqlFiles,
        alarms: Alarms,
        clock: Clock,
        on_write: Callable[[], None],
        on_failure: Callable[[StoreError], None],
        exclusive: Exclusive | None = None,
    ) -> None:
        """``on_write`` is called at every write (it renews the activity); ``on_failure`` when a unit was not stored:
        the object's memory is worth nothing then, and its owner calls ``reset``. ``exclusive`` isolates transactions
        from the object's other events.
        """
        self._store = store
        self.owner = owner
        self._object = owner.object
        self._label = label
        self._files = files
        self._alarms = alarms
        self._clock = clock
        self._on_write = on_write
        self._on_failure = on_failure
        self._exclusive = exclusive
        self._group = store.group(label, on_failure=self._on_failure)
        self._overlay: dict[bytes, tuple[bytes | None, Commit]] = {}
        self._cleared: Commit | None = None
        self._alarm: tuple[float | None, Commit | None] | None = None
        self._commit: Commit | None = None
        self._commit_keys: list[bytes] = []
        self._sql: Sql | None = None

    # --- keys ---------------------------------------------------------------------------------------------------

    @overload
    async def get(self, key: str, default: Any = None) -> Any: ...
    @overload
    async def get(self, key: Iterable[str]) -> dict[str, Any]: ...

    async def get(self, key: str | Iterable[str], default: Any = None) -> Any:
        """A fresh copy of the value of ``key``, or ``default``; of several keys, a dict of those that are there."""
        return await key_value.get(self, key, default)

    @overload
    def put(self, key: str, value: Any) -> Awaitable[None]: ...
    @overload
    def put(self, key: Mapping[str, Any]) -> Awaitable[None]: ...

    def put(self, key: str | Mapping[str, Any], value: Any = UNSET) -> Awaitable[None]:
        """Store a copy of ``value`` under ``key``, or of all values of a mapping."""
        return key_value.put(self, key, value)

    @overload
    def delete(self, key: str) -> Awaitable[bool]: ...
    @overload
    def delete(self, key: Iterable[str]) -> Awaitable[int]: ...

    def delete(self, key: str | Iterable[str]) -> Awaitable[bool] | Awaitable[int]:
        """Delete a key (the awaitable says whether it was there), or several (how many of them were there)."""
        return key_value.delete(self, key)

    async def list(
        self,
        *,
        prefix: str | None = None,
        start: str | None = None,
        start_after: str | None = None,
        end: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> dict[str, Any]:
        """The keys that begin with ``prefix``, from ``start`` (or behind ``start_after``) up to but without ``end``.

        In the order of their UTF-8 bytes, backwards with ``reverse``; ``limit`` counts in that order.
        """
        wanted = range_of(prefix=prefix, start=start, start_after=start_after, end=end, limit=limit, reverse=reverse)
        return await key_value.listed(self, wanted)

    def delete_all(self) -> Awaitable[None]:
        """Delete every key, the alarm, and the private database."""
        self._check()
        self._on_write()
        self.sql.delete()
        commit = self._group.write(_DELETE_ALL, (self._object,))
        self._overlay.clear()
        self._cleared = commit
        self._track(commit)
        self._write_alarm(None)
        return NOTHING

    async def transaction(self, closure: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``closure(txn)``; what it writes through ``txn`` is applied as a whole when it returns, else not at all.

        The closure reads its own writes, nobody else does before the end. ``txn.rollback()`` and an exception drop
        them all; the exception is raised. No other event of the object is delivered meanwhile, where the object's
        gate is there to hold them; what the closure itself causes outside of ``txn`` is not part of the transaction.
        """
        if self._exclusive is None:
            return await Transaction(self).run(closure)
        outcome: list[T] = []
        errors: list[BaseException] = []

        async def guarded() -> None:
            # The gate would take an exception for a failed block and reset the object.
            try:
                outcome.append(await Transaction(self).run(closure))
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise  # the object was reset or put away; otherwise the closure itself awaited what was cancelled
                errors.append(error)  # raised to the caller below

        await self._exclusive(guarded)
        if errors:
            raise errors[0]
        return outcome[0]

    # --- the alarm ----------------------------------------------------------------------------------------------

    async def get_alarm(self) -> float | None:
        """When the alarm is due, in Unix seconds; None where none is set."""
        self._check()
        if self._alarm is not None:
            return self._alarm[0]
        rows = await self._store.read(*timers.alarm_due(self.owner))
        return rows[0][0] if rows else None

    def set_alarm(self, when: float | datetime | timedelta) -> Awaitable[None]:
        """Set the one alarm of the object: Unix seconds, a datetime, or a timedelta from now. The past is due now."""
        self._alarms.check()
        self._on_write()
        self._write_alarm(_due(when, self._clock))
        return NOTHING

    def delete_alarm(self) -> Awaitable[None]:
        """Set no alarm."""
        self._on_write()
        self._write_alarm(None)
        return NOTHING

    def _write_alarm(self, due: float | None) -> None:
        if due is None:
            commit = self._group.write(*timers.delete_alarm(self.owner))
        else:
            commit = self._group.write(*timers.set_alarm(self.owner, due))
        self._alarm = (due, commit)
        self._track(commit)

    def alarm_fires(self) -> None:
        """The alarm's handler begins: there is no alarm, unless the handler sets one, or somebody just has.

        Its row stays until the handler is done.
        """
        if self._alarm is None:
            self._alarm = (None, None)

    def alarm_fired(self) -> None:
        """What became of the alarm that fired is stored."""
        if self._alarm == (None, None):
            self._alarm = None

    def write_timer(self, statement: timers.Statement, due: float | None) -> None:
        """Add or remove a schedule, as part of this turn's unit; its timer is armed once it is durable."""
        self._on_write()
        commit = self._group.write(*statement)
        commit.add_done_callback(lambda commit: self._alarms.changed(due) if commit.error is None else None)

    async def schedules(self) -> Sequence[timers.TimerRow]:
        """The schedules of the object, the earliest first, once all its writes are durable."""
        await self.sync()
        return [timers.row_of(row) for row in await self._store.read(*timers.schedules(self.owner))]

    # --- durability ---------------------------------------------------------------------------------------------

    @property
    def sql(self) -> Sql:
        """The private SQLite database of the object."""
        if self._sql is None:
            self._sql = Sql(self._files, self._object, on_write=self._on_write, on_failure=self._on_failure)
        return self._sql

    async def sync(self) -> None:
        """Return when every write made so far is durable. Raises StoreError where one was not stored."""
        pending = self.pending()
        if pending is not None:
            await pending

    def pending(self) -> Awaitable[None] | None:
        """What the output gate waits for: resolves when all writes made so far are durable; None where they are."""
        keys = self._group.pending()
        rows = None if self._sql is None else self._sql.pending()
        if keys is not None and rows is not None:
            return AllOf(keys, rows)
        return keys if rows is None else rows

    def reset(self) -> None:
        """Go back to what is stored, where a write was not; what was written otherwise stays written."""
        if self._group.failed is not None:
            self._overlay.clear()
            self._cleared = self._alarm = self._commit = None
            self._group = self._store.group(self._label, on_failure=self._on_failure)
        if self._sql is not None:
            self._sql.reset()

    def close(self) -> None:
        """Close the files that are open for the object; the storage may be used again."""
        if self._sql is not None:
            self._sql.close()

    def _check(self) -> None:
        if self._group.failed is not None:
            raise StoreError(f"{self._label}: a write was not stored, and the object is reset ({self._group.failed})")

    # --- what transactions build on -----------------------------------------------------------------------------

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The encoded values of those keys that are there."""
        self._check()
        overlay = self._overlay
        found: dict[bytes, bytes] = {}
        missing: list[bytes] = []
        for key in keys:
            entry = overlay.get(key)
            if entry is None:
                missing.append(key)
            elif entry[0] is not None:
                found[key] = entry[0]
        if not missing or self._cleared is not None:
            return found
        if len(missing) == 1:
            rows = await self._store.read(_GET, (self._object, missing[0]))
            if rows:
                found[missing[0]] = rows[0][0]
            return found
        for first in range(0, len(missing), _KEYS_A_QUERY):
            part = missing[first : first + _KEYS_A_QUERY]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT key, value FROM objects_keys WHERE object = ? AND key IN ({marks})"
            found.update(await self._store.read(sql, (self._object, *part)))
        return found

    async def scan(self, wanted: Range, newer: Mapping[bytes, bytes | None] | None = None) -> dict[bytes, bytes]:
        """The encoded values of a range, in order; ``newer`` holds entries that are newer than the storage's own."""
        self._check()
        overlay: dict[bytes, bytes | None] = {key: entry[0] for key, entry in self._overlay.items()}
        if newer is not None:
            overlay.update(newer)
        if self._cleared is not None:
            return overlaid((), overlay, wanted)
        sql = "SELECT key, value FROM objects_keys WHERE object = ? AND key >= ?"
        args: list[Any] = [self._object, wanted.start]
        if wanted.end is not None:
            sql += " AND key < ?"
            args.append(wanted.end)
        sql += " ORDER BY key DESC" if wanted.reverse else " ORDER BY key"
        if wanted.limit is not None:
            sql += " LIMIT ?"
            args.append(wanted.limit + sum(data is None and wanted.holds(key) for key, data in overlay.items()))
        return overlaid(await self._store.read(sql, args), overlay, wanted)

    def apply(self, entries: Mapping[bytes, bytes | None]) -> None:
        """Write encoded values (None: delete), as part of this turn's unit."""
        self._on_write()
        commit: Commit | None = None
        for key, data in entries.items():
            if data is None:
                commit = self._group.write(_DELETE, (self._object, key))
            else:
                commit = self._group.write(_PUT, (self._object, key, data))
            if commit is not self._commit:
                self._track(commit)
            self._overlay[key] = (data, commit)
            self._commit_keys.append(key)

    def _track(self, commit: Commit) -> None:
        """Clean up behind ``commit`` when it is durable."""
        if commit is not self._commit:
            self._commit = commit
            self._commit_keys = []
            commit.add_done_callback(partial(self._settled, self._commit_keys))

    def _settled(self, keys: Sequence[bytes], commit: Commit) -> None:
        if commit is self._commit:
            self._commit, self._commit_keys = None, []
        if commit.error is not None:
            return
        for key in keys:
            entry = self._overlay.get(key)
            if entry is not None and entry[1] is commit:
                del self._overlay[key]
        if self._cleared is commit:
            self._cleared = None
        if self._alarm is not None and self._alarm[1] is commit:
            due, self._alarm = self._alarm[0], None
            self._alarms.changed(due)


def _due(when: object, clock: Clock) -> float:
    """Unix seconds. Raises TypeError and ValueError."""
    if isinstance(when, datetime):
        return timers.checked(timers.seconds(when), when)
    if isinstance(when, timedelta):
        return timers.checked(clock.time() + when.total_seconds(), when)
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise TypeError(f"an alarm is set for Unix seconds, a datetime or a timedelta, not {type(when).__name__}")
    if not 0 <= when < timers.LAST_SECOND:
        raise ValueError(f"{when!r} is not a time in Unix seconds; was it meant in milliseconds?")
    return float(when)
