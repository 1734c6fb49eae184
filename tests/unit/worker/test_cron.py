"""When crons run, and what survives a restart: against a SQLite store, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.observer import ErrorReported, Notice, Recorder
from moorings.store import SqliteStore
from moorings.worker.cron import MIGRATIONS, CronScheduler, Due, ScheduledController, due
from moorings.worker.cron_expression import CronExpression

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
EVERY_MINUTE = CronExpression("* * * * *")
HOURLY = CronExpression("0 * * * *")
Work = Callable[[ScheduledController], Awaitable[None]]


class AdjustableClock(ManualClock):
    """A clock whose wall time can be set apart from its timers."""

    adjusted = 0.0

    def time(self) -> float:
        return super().time() + self.adjusted


class Platform:
    """A scheduler on a store in ``folder``: what one run of the platform has of crons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = AdjustableClock(start=NOON)
        self.observer = Recorder()
        self.runs: list[tuple[str, str]] = []
        self.work: Work | None = None
        self.store: SqliteStore | None = None
        self.scheduler: CronScheduler | None = None

    async def start(self, *crons: str) -> CronScheduler:
        self.store = await SqliteStore.open(self.folder, migrations=MIGRATIONS, clock=self.clock)
        self.scheduler = CronScheduler(store=self.store, clock=self.clock, observer=self.observer, run=self._run)
        await self.use(*crons)
        return self.scheduler

    async def use(self, *crons: str) -> None:
        assert self.scheduler is not None
        await self.scheduler.use([CronExpression(text) for text in crons])
        await self.settle()

    async def _run(self, controller: ScheduledController) -> None:
        self.runs.append((controller.cron, f"{controller.scheduled_time:%H:%M}"))
        if self.work is not None:
            await self.work(controller)

    async def settle(self) -> None:
        """Until what was due has begun: each run waits for its record to be on disk."""
        assert self.store is not None
        await self.clock.settle()
        await self.store.flush()
        await self.clock.settle()

    async def advance(self, seconds: float) -> None:
        """Move the time forward minute by minute, as it goes."""
        while seconds > 0:
            await self.clock.advance(min(seconds, 60.0))
            await self.settle()
            seconds -= 60.0

    async def stop(self) -> None:
        """End as if killed, but for the threads: what is on disk stays, what runs is cut off."""
        if self.scheduler is not None and self.store is not None:
            await self.scheduler.close(grace=0.0)
            await self.store.close()
            self.scheduler = self.store = None

    async def restart(self, *crons: str, after: float) -> None:
        """Stop, let ``after`` seconds go by, and start."""
        await self.stop()
        await self.clock.advance(after)
        self.runs.clear()
        self.observer.events.clear()
        await self.start(*crons)

    async def rows(self) -> dict[str, int]:
        assert self.store is not None
        await self.store.flush()
        return {str(cron): int(last) for cron, last in await self.store.read("SELECT expression, last_run FROM cron")}

    @property
    def times(self) -> list[str]:
        return [time for _, time in self.runs]

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.observer.events if isinstance(event, Notice)]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    platform = Platform(tmp_path)
    yield platform
    await platform.stop()


# --- deciding ---------------------------------------------------------------------------------------------------------


def one(cron: CronExpression, minute: float, *, missed: bool = False, too_old: bool = False) -> list[Due]:
    return [Due(cron, int(minute), missed=missed, too_old=too_old)]


@pytest.mark.parametrize(
    ("cron", "last", "now", "expected"),
    [
        (EVERY_MINUTE, NOON, NOON + 59.9, []),
        (EVERY_MINUTE, NOON, NOON + 60, one(EVERY_MINUTE, NOON + 60)),
        (EVERY_MINUTE, NOON, NOON + 119.9, one(EVERY_MINUTE, NOON + 60)),
        (EVERY_MINUTE, NOON, NOON + 180, one(EVERY_MINUTE, NOON + 180, missed=True)),
        (EVERY_MINUTE, NOON, NOON + 100_000, one(EVERY_MINUTE, NOON + 99_960, missed=True)),
        (EVERY_MINUTE, NOON, NOON - 600, []),
        (HOURLY, NOON, NOON + 3599, []),
        (HOURLY, NOON, NOON + 3600, one(HOURLY, NOON + 3600)),
        (HOURLY, NOON, NOON + 3660, one(HOURLY, NOON + 3600, missed=True)),
        (HOURLY, NOON, NOON + 7199, one(HOURLY, NOON + 3600, missed=True)),
        (HOURLY, NOON, NOON + 7200, one(HOURLY, NOON + 7200, missed=True)),
    ],
)
def test_at_most_the_latest_minute_is_due(cron: CronExpression, last: float, now: float, expected: list[Due]) -> None:
    assert due([cron], {cron.text: int(last)}, now) == expected


def test_a_minute_is_too_old_from_one_hour_on() -> None:
    daily = CronExpression("0 13 * * *")
    last: Mapping[str, int] = {daily.text: int(NOON)}
    assert due([daily], last, NOON + 7199) == one(daily, NOON + 3600, missed=True)
    assert due([daily], last, NOON + 7200) == one(daily, NOON + 3600, missed=True, too_old=True)


# --- running ----------------------------------------------------------------------------------------------------------


async def test_each_cron_runs_once_in_each_of_its_minutes(platform: Platform) -> None:
    await platform.start("* * * * *", "*/2 * * * *")
    assert platform.runs == []
    await platform.advance(240)
    assert platform.runs == [
        ("* * * * *", "12:01"),
        ("* * * * *", "12:02"),
        ("*/2 * * * *", "12:02"),
        ("* * * * *", "12:03"),
        ("* * * * *", "12:04"),
        ("*/2 * * * *", "12:04"),
    ]
    assert platform.warnings == []


async def test_an_expression_that_stands_there_twice_runs_once(platform: Platform) -> None:
    await platform.start("* * * * *", "*  * * * *")
    await platform.advance(60)
    assert platform.times == ["12:01"]


async def test_the_controller_has_the_cron_and_the_time_in_utc(platform: Platform) -> None:
    given: list[ScheduledController] = []

    async def work(controller: ScheduledController) -> None:
        controller.no_retry()
        given.append(controller)

    platform.work = work
    await platform.start("*/5 * * * *")
    await platform.advance(300)
    assert given == [ScheduledController("*/5 * * * *", datetime(2026, 1, 1, 12, 5, tzinfo=UTC))]
    assert given[0].scheduled_time.utcoffset() is not None


async def test_one_timer_is_armed_however_many_crons_there_are(platform: Platform) -> None:
    await platform.start(*(f"{minute} * * * *" for minute in range(60)))
    assert platform.clock.pending == 1
    await platform.advance(600)
    assert platform.clock.pending == 1


async def test_without_crons_no_timer_is_armed(platform: Platform) -> None:
    await platform.start()
    assert platform.clock.pending == 0


async def test_runs_overlap_where_one_takes_longer_than_its_period(platform: Platform) -> None:
    first_may_end = asyncio.Event()
    ended: list[str] = []

    async def work(controller: ScheduledController) -> None:
        if controller.scheduled_time.minute == 1:
            await first_may_end.wait()
        ended.append(f"{controller.scheduled_time:%H:%M}")

    platform.work = work
    await platform.start("* * * * *")
    await platform.advance(120)
    assert ended == ["12:02"]
    first_may_end.set()
    await platform.settle()
    assert ended == ["12:02", "12:01"]


async def test_an_error_is_reported_and_later_runs_go_on(platform: Platform) -> None:
    async def work(controller: ScheduledController) -> None:
        if controller.scheduled_time.minute == 1:
            raise KeyError("the worker's fault")

    platform.work = work
    await platform.start("* * * * *")
    await platform.advance(120)
    assert platform.times == ["12:01", "12:02"]
    (error,) = [event for event in platform.observer.events if isinstance(event, ErrorReported)]
    assert error.where == "scheduled (* * * * *)"
    assert isinstance(error.error, KeyError)


async def test_the_minute_is_on_disk_before_its_run_begins(platform: Platform) -> None:
    recorded: list[dict[str, int]] = []

    async def work(_: ScheduledController) -> None:
        assert platform.store is not None
        rows = await platform.store.read("SELECT expression, last_run FROM cron")
        recorded.append({str(cron): int(last) for cron, last in rows})

    platform.work = work
    await platform.start("* * * * *")
    await platform.advance(60)
    assert recorded == [{"* * * * *": int(NOON) + 60}]


async def test_a_run_whose_record_cannot_be_written_is_reported_and_begun_all_the_same(platform: Platform) -> None:
    await platform.start("* * * * *")
    assert platform.store is not None
    store = platform.store
    await store.close()
    await platform.clock.advance(60)
    assert platform.times == ["12:01"]
    (error,) = [event for event in platform.observer.events if isinstance(event, ErrorReported)]
    assert isinstance(error.error, StoreError)
    await platform.clock.advance(60)
    assert platform.times == ["12:01", "12:02"]


async def test_a_store_that_failed_once_is_written_again(platform: Platform) -> None:
    await platform.start("* * * * *")
    assert platform.store is not None
    await platform.store.group("test").write("ALTER TABLE cron RENAME TO elsewhere")
    await platform.advance(60)
    await platform.store.group("test").write("ALTER TABLE elsewhere RENAME TO cron")
    await platform.advance(60)
    assert platform.times == ["12:01", "12:02"]
    assert len([event for event in platform.observer.events if isinstance(event, ErrorReported)]) == 1
    assert await platform.rows() == {"* * * * *": int(NOON) + 120}


# --- wall time --------------------------------------------------------------------------------------------------------


async def test_a_machine_that_slept_makes_up_for_the_latest_minute_once(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.advance(60)
    platform.clock.adjusted += 600
    await platform.advance(60)
    assert platform.times == ["12:01", "12:12"]
    assert len(platform.warnings) == 1


async def test_a_minute_that_came_near_while_the_machine_slept_is_not_waited_for_too_long(platform: Platform) -> None:
    await platform.start("0 13 * * *")
    platform.clock.adjusted += 3550
    await platform.advance(60)
    assert platform.times == ["13:00"]
    assert platform.warnings == []


async def test_no_minute_runs_twice_where_wall_time_is_set_back(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.advance(180)
    platform.clock.adjusted -= 120
    await platform.advance(240)
    assert platform.times == ["12:01", "12:02", "12:03", "12:04", "12:05"]


# --- restarts ---------------------------------------------------------------------------------------------------------


async def test_a_minute_that_ran_does_not_run_again_after_a_restart_in_it(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.advance(60)
    await platform.restart("* * * * *", after=30)
    assert platform.runs == []
    await platform.advance(30)
    assert platform.times == ["12:02"]


async def test_a_run_that_was_cut_off_is_not_repeated(platform: Platform) -> None:
    async def work(_: ScheduledController) -> None:
        await asyncio.Event().wait()

    platform.work = work
    await platform.start("0 13 * * *")
    await platform.advance(3600)
    assert platform.times == ["13:00"]
    await platform.restart("0 13 * * *", after=600)
    assert platform.runs == []


async def test_a_minute_missed_less_than_an_hour_ago_runs_once_at_start_and_is_logged(platform: Platform) -> None:
    await platform.start("15 * * * *")
    await platform.restart("15 * * * *", after=15 * 60 + 3599)
    assert platform.runs == [("15 * * * *", "12:15")]
    assert platform.warnings == [
        "cron '15 * * * *' missed its time; it runs now for 2026-01-01 12:15 UTC, once for all it missed"
    ]
    await platform.restart("15 * * * *", after=0)
    assert platform.runs == []


async def test_of_many_missed_minutes_the_latest_runs_alone(platform: Platform) -> None:
    await platform.start("*/5 * * * *")
    await platform.restart("*/5 * * * *", after=29 * 60)
    assert platform.times == ["12:25"]
    assert len(platform.warnings) == 1
    await platform.advance(60)
    assert platform.times == ["12:25", "12:30"]


async def test_a_minute_missed_an_hour_ago_is_left_out_and_logged_once(platform: Platform) -> None:
    await platform.start("15 12 * * *")
    await platform.restart("15 12 * * *", after=15 * 60 + 3600)
    assert platform.runs == []
    assert platform.warnings == [
        "cron '15 12 * * *' was due 2026-01-01 12:15 UTC, over an hour ago; that run is left out"
    ]
    await platform.restart("15 12 * * *", after=60)
    assert platform.warnings == []


async def test_a_new_cron_has_missed_nothing(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.restart("* * * * *", "15 * * * *", after=30 * 60)
    assert platform.runs == [("* * * * *", "12:30")]


async def test_a_minute_recorded_by_a_clock_that_was_far_ahead_does_not_stop_the_cron(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.restart("* * * * *", after=4 * 365 * 86400)
    await platform.stop()
    platform.clock.adjusted -= 4 * 365 * 86400
    platform.runs.clear()
    await platform.start("* * * * *")
    await platform.advance(60)
    assert platform.times == ["12:01"]


# --- reloading and stopping -------------------------------------------------------------------------------------------


async def test_a_cron_that_is_taken_out_is_forgotten_and_comes_back_as_a_new_one(platform: Platform) -> None:
    await platform.start("* * * * *", "*/5 * * * *")
    await platform.use("* * * * *")
    assert list(await platform.rows()) == ["* * * * *"]
    await platform.advance(360)
    assert ("*/5 * * * *", "12:05") not in platform.runs
    await platform.use("* * * * *", "*/5 * * * *")
    assert ("*/5 * * * *", "12:05") not in platform.runs
    await platform.advance(240)
    assert ("*/5 * * * *", "12:10") in platform.runs


async def test_a_reload_with_the_same_crons_changes_nothing(platform: Platform) -> None:
    await platform.start("* * * * *")
    await platform.advance(60)
    await platform.use("* * * * *")
    await platform.advance(60)
    assert platform.times == ["12:01", "12:02"]
    assert platform.clock.pending == 1


async def test_no_run_begins_after_halt(platform: Platform) -> None:
    scheduler = await platform.start("* * * * *")
    scheduler.halt()
    await platform.advance(120)
    await platform.use("* * * * *")
    assert platform.runs == []
    assert platform.clock.pending == 0


async def test_close_waits_for_runs_and_cuts_them_off_after_the_grace(platform: Platform) -> None:
    may_end = asyncio.Event()
    ended: list[str] = []

    async def work(controller: ScheduledController) -> None:
        try:
            await may_end.wait()
            ended.append("finished")
        except asyncio.CancelledError:
            ended.append("cut off")
            raise

    platform.work = work
    scheduler = await platform.start("* * * * *")
    await platform.advance(60)
    closing = asyncio.ensure_future(scheduler.close(grace=60.0))
    await platform.clock.settle()
    assert not closing.done()
    may_end.set()
    await closing
    assert ended == ["finished"]
    may_end.clear()
    await platform.restart("* * * * *", after=60)
    await platform.stop()
    assert ended == ["finished", "cut off"]
