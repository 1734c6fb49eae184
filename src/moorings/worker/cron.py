"""Cron triggers: ``scheduled(controller)`` is called in the minutes that ``triggers.crons`` names, in UTC.

Each cron runs once for a minute, whatever the platform goes through: the minute is recorded, durably, before its run
begins, so a run that is cut off by the platform's end isn't begun again. Minutes that pass while nothing can run (the
platform is down, the machine asleep) are made up for by one run, of the latest of them, if that is less than an hour
old. What to run is decided by ``due``, from the expressions, the minutes recorded and the time. One timer is armed,
however many crons there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from moorings.clock import Clock, TimerHandle
from moorings.errors import StoreError
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Notice, Observer
from moorings.store import Commit, Group, Migration, Store
from moorings.worker.cron_expression import MINUTE, CronExpression

MIGRATIONS: Final = (
    Migration("cron", 1, ("CREATE TABLE cron (expression TEXT PRIMARY KEY, last_run BIGINT NOT NULL)",)),
)
"""``last_run``: the last minute that the expression ran for (Unix seconds); at first, the one that it came in."""

TOO_OLD: Final = 3600.0
"""Seconds after which a minute that was missed is not made up for."""

LOOK: Final = 60.0
"""Seconds that the timer runs at most: wall time may jump, the clock that timers go by doesn't."""

_SELECT: Final = "SELECT expression, last_run FROM cron"
_RECORD: Final = (
    "INSERT INTO cron (expression, last_run) VALUES (?, ?) "
    "ON CONFLICT (expression) DO UPDATE SET last_run = excluded.last_run"
)
_FORGET: Final = "DELETE FROM cron WHERE expression = ?"


@dataclass(frozen=True, slots=True)
class ScheduledController:
    """What ``scheduled`` is told of its run.

    ``cron`` is the expression, as it stands in the configuration; ``scheduled_time`` the minute it was due in, an aware
    datetime in UTC (Cloudflare's ``scheduledTime`` is the same moment in milliseconds).
    Source: developers.cloudflare.com/workers/runtime-apis/handlers/scheduled/
    """

    cron: str
    scheduled_time: datetime

    def no_retry(self) -> None:
        """Says that a failed run is not to be repeated. It never is here, so this changes nothing."""


@dataclass(frozen=True, slots=True)
class Due:
    """A cron that is due for the minute that begins at ``minute`` (Unix seconds).

    ``missed``: that minute, or one before it, passed unused. ``too_old``: so long ago that it isn't made up for.
    """

    cron: CronExpression
    minute: int
    missed: bool
    too_old: bool


def due(crons: Collection[CronExpression], last: Mapping[str, int], now: float) -> list[Due]:
    """What is due at ``now``, given the last minute that each cron (by its text) ran for. At most one of each cron."""
    found = []
    for cron in crons:
        minute = cron.latest(now)
        if minute is None or minute <= last[cron.text]:
            continue
        before = cron.latest(minute - 1)
        passed = now - minute >= MINUTE
        found.append(
            Due(
                cron,
                minute,
                missed=passed or (before is not None and before > last[cron.text]),
                too_old=now - minute >= TOO_OLD,
            )
        )
    return found


class CronScheduler:
    """Calls ``run(controller)`` for each cron that is due. ``use`` it first, ``close`` it last."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        observer: Observer,
        run: Callable[[ScheduledController], Awaitable[None]],
    ) -> None:
        """``store`` has MIGRATIONS applied. Runs may overlap; what one raises goes to ``observer``."""
        self._store = store
        self._clock = clock
        self._observer = observer
        self._run = run
        self._tasks = Tasks(lambda what, error: observer.notify(ErrorReported(what, error)))
        self._crons: tuple[CronExpression, ...] = ()
        self._last: dict[str, int] | None = None
        self._group: Group | None = None
        self._timer: TimerHandle | None = None
        self._halted = False

    async def use(self, crons: Collection[CronExpression]) -> None:
        """Go by these crons from now on; at the first call, make up for what was missed. Raises StoreError.

        A cron that is new is due from the next minute on; one that is gone is forgotten. Both are on disk at the end.
        """
        if self._last is None:
            self._last = {expression: int(minute) for expression, minute in await self._store.read(_SELECT)}
        now = self._clock.time()
        this_minute = int(now // MINUTE * MINUTE)
        self._crons = tuple({cron.text: cron for cron in crons}.values())
        for gone in self._last.keys() - {cron.text for cron in self._crons}:
            del self._last[gone]
            self._write(_FORGET, gone)
        for cron in self._crons:
            # A minute in the far future was recorded by a clock that was wrong; waiting for it might be forever.
            if self._last.get(cron.text, this_minute + TOO_OLD) >= this_minute + TOO_OLD:
                self._record(cron, this_minute)
        if self._group is not None and (pending := self._group.pending()) is not None:
            with contextlib.suppress(StoreError):  # reported
                await pending
        self._tick()

    def halt(self) -> None:
        """Begin no more runs."""
        self._halted = True
        if self._timer is not None:
            self._timer.cancel()

    async def close(self, *, grace: float) -> None:
        """Begin no more runs, give those that go on ``grace`` seconds to end, then cancel them."""
        self.halt()
        try:
            async with asyncio.timeout(grace):
                await self._tasks.settle()
        except TimeoutError:
            await self._tasks.close()

    def _tick(self) -> None:
        """Begin what is due, and arm the timer for what is due next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._halted or self._last is None or not self._crons:
            return
        now = self._clock.time()
        for item in due(self._crons, self._last, now):
            self._begin(item)
        upcoming = min(cron.next(now) for cron in self._crons)
        self._timer = self._clock.call_later(min(upcoming - self._clock.time(), LOOK), self._tick)

    def _begin(self, item: Due) -> None:
        cron, time = item.cron.text, datetime.fromtimestamp(item.minute, UTC)
        recorded = self._record(item.cron, item.minute)
        if item.too_old:
            self._warn(f"cron {cron!r} was due {time:%Y-%m-%d %H:%M} UTC, over an hour ago; that run is left out")
            return
        if item.missed:
            self._warn(
                f"cron {cron!r} missed its time; it runs now for {time:%Y-%m-%d %H:%M} UTC, once for all it missed"
            )
        self._tasks.spawn(f"scheduled ({cron})", self._work(ScheduledController(cron, time), recorded))

    async def _work(self, controller: ScheduledController, recorded: Commit | None) -> None:
        if recorded is not None:
            # Where it can't be recorded, which is reported, running is worth more than never running twice.
            with contextlib.suppress(StoreError):
                await recorded
        await self._run(controller)

    def _record(self, cron: CronExpression, minute: int) -> Commit | None:
        assert self._last is not None
        self._last[cron.text] = minute
        return self._write(_RECORD, cron.text, minute)

    def _write(self, sql: str, *args: object) -> Commit | None:
        if self._group is None or self._group.failed is not None:
            self._group = self._store.group("cron", on_failure=self._not_recorded)
        try:
            return self._group.write(sql, args)
        except StoreError as error:
            self._not_recorded(error)
            return None

    def _not_recorded(self, error: StoreError) -> None:
        self._observer.notify(ErrorReported("recording when crons ran", error))

    def _warn(self, message: str) -> None:
        self._observer.notify(Notice("warning", message))
