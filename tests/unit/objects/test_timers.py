"""Alarms: when they fire, how often, and what their handlers may do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from moorings.clock import ManualClock
from moorings.objects.timers import BATCH, RETRIES, retry_after
from tests.unit.objects.storing import place as stored
from tests.unit.objects.timing import Job, Sleeper, forget, names, place, sleeping


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Nothing that a test before has left."""
    forget()


async def test_alarms_fire_once_each_in_the_order_in_which_they_are_due(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        for name, delay in (("c", 30), ("a", 10), ("d", 40), ("b", 20)):
            await here.stub(Sleeper, name).set(now + delay)
        await here.pass_time(9.99)
        assert names() == []
        await here.pass_time(100)
        assert Sleeper.calls == [("a", now + 10), ("b", now + 20), ("c", now + 30), ("d", now + 40)]
        assert await here.rows() == []


async def test_an_alarm_fires_within_a_minute_after_wall_time_has_jumped_over_it(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        await here.stub(Sleeper, "a").set(here.clock.time() + 8 * 3600)
        here.clock.jump(8 * 3600)  # the machine was suspended
        await here.pass_time(60)
        assert names() == ["a"]


async def test_alarms_that_were_due_together_fire_in_order(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        for number in reversed(range(20)):
            await here.stub(Sleeper, f"{number:02}").set(here.clock.time() - 100 + number)
        await here.pass_time(0)
        assert sorted(names()) == [f"{number:02}" for number in range(20)]


@pytest.mark.parametrize("when", [timedelta(seconds=5), datetime.fromtimestamp(1_000_005, UTC), 1_000_005])
async def test_an_alarm_is_set_by_timedelta_datetime_or_unix_seconds(tmp_path: Path, when: Any) -> None:
    async with await sleeping(tmp_path) as here:
        await here.stub(Sleeper).set(when)
        assert await here.stub(Sleeper).due() == 1_000_005
        await here.pass_time(4.99)
        assert names() == []
        await here.pass_time(0.01)
        assert names() == ["a"]


async def test_the_alarm_that_was_set_last_is_the_one_alarm(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        await here.stub(Sleeper).set_twice(now + 5, now + 50)
        await here.pass_time(49)
        assert names() == []
        await here.pass_time(1)
        assert Sleeper.calls == [("a", now + 50)]


async def test_an_alarm_that_is_set_earlier_fires_earlier(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        await here.stub(Sleeper, "late").set(now + 1000)
        await here.settle()
        await here.stub(Sleeper, "early").set(now + 10)
        await here.pass_time(10)
        assert names() == ["early"]


async def test_a_deleted_alarm_never_fires(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        await here.stub(Sleeper).set(here.clock.time() + 5)
        await here.settle()
        await here.stub(Sleeper).delete()
        assert await here.stub(Sleeper).due() is None
        await here.pass_time(100)
        assert names() == []
        assert await here.rows() == []


async def test_there_is_no_alarm_inside_its_handler(tmp_path: Path) -> None:
    seen: list[float | None] = []

    async def look(sleeper: Sleeper) -> None:
        seen.append(await sleeper.ctx.storage.get_alarm())

    async with await sleeping(tmp_path) as here:
        Sleeper.then = look
        await here.stub(Sleeper).set(here.clock.time() + 5)
        await here.pass_time(5)
        assert seen == [None]
        assert await here.stub(Sleeper).due() is None


async def test_an_alarm_that_the_handler_sets_is_kept(tmp_path: Path) -> None:
    def again(sleeper: Sleeper) -> None:
        if len(sleeper.calls) < 3:
            sleeper.ctx.storage.set_alarm(timedelta(seconds=5))

    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        Sleeper.then = again
        await here.stub(Sleeper).set(now + 5)
        for _ in range(5):
            await here.pass_time(5)
        assert Sleeper.calls == [("a", now + 5), ("a", now + 10), ("a", now + 15)]
        assert await here.rows() == []


async def test_an_alarm_set_by_a_request_while_the_handler_runs_is_kept(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def wait(sleeper: Sleeper) -> None:
        if len(sleeper.calls) == 1:
            await go.wait()

    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        Sleeper.then = wait
        await here.stub(Sleeper).set(now + 5)
        await here.pass_time(5)
        await here.stub(Sleeper).set(now + 8)
        await here.pass_time(5)
        assert len(Sleeper.calls) == 1  # the same object's alarm is not fired beside itself
        go.set()
        await here.pass_time(0)
        assert Sleeper.calls == [("a", now + 5), ("a", now + 10)]
        assert await here.rows() == []


async def test_an_alarm_deleted_in_a_handler_that_fails_is_still_tried_again(tmp_path: Path) -> None:
    def fail_once(sleeper: Sleeper) -> None:
        if len(sleeper.calls) == 1:
            raise RuntimeError("no luck")

    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        Sleeper.then = fail_once
        await here.stub(Sleeper).set(now + 5)
        await here.pass_time(5)
        assert await here.rows() == [("Sleeper", "alarm", 1)]
        await here.pass_time(2)
        assert Sleeper.calls == [("a", now + 5), ("a", now + 7)]
        assert await here.rows() == []


async def test_a_failing_alarm_is_called_again_after_2_seconds_doubling_six_times_and_then_given_up(
    tmp_path: Path,
) -> None:
    def fail(sleeper: Sleeper) -> None:
        raise RuntimeError("no luck")

    async with await sleeping(tmp_path) as here:
        start = here.clock.time() + 5
        Sleeper.then = fail
        await here.stub(Sleeper).set(start)
        await here.pass_time(5)
        for _ in range(RETRIES + 3):
            await here.pass_time(64)
        at = [when - start for _, when in Sleeper.calls]
        assert len(at) == 1 + RETRIES
        assert at[0] == 0
        assert [str(error) for error in here.errors] == ["no luck"] * 7 + ["alarm was given up after 6 retries"]
        assert await here.rows() == []


async def test_retries_come_exactly_when_they_are_documented(tmp_path: Path) -> None:
    def fail(sleeper: Sleeper) -> None:
        raise RuntimeError("no luck")

    assert [retry_after(attempts) for attempts in range(1, 8)] == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, None]
    async with await sleeping(tmp_path) as here:
        Sleeper.then = fail
        await here.stub(Sleeper).set(here.clock.time())
        await here.pass_time(0)
        for calls, wait in enumerate((2, 4, 8, 16, 32, 64), 1):
            await here.pass_time(wait - 0.01)
            assert len(Sleeper.calls) == calls
            await here.pass_time(0.01)
            assert len(Sleeper.calls) == calls + 1


async def test_setting_an_alarm_anew_starts_its_retries_anew(tmp_path: Path) -> None:
    def fail(sleeper: Sleeper) -> None:
        raise RuntimeError("no luck")

    async with await sleeping(tmp_path) as here:
        Sleeper.then = fail
        await here.stub(Sleeper).set(here.clock.time())
        await here.pass_time(0)
        await here.pass_time(2)
        assert await here.rows() == [("Sleeper", "alarm", 2)]
        await here.stub(Sleeper).set(here.clock.time() + 100)
        assert await here.rows() == [("Sleeper", "alarm", 0)]


async def test_an_alarm_set_in_a_handler_that_fails_replaces_the_retry(tmp_path: Path) -> None:
    def fail_once(sleeper: Sleeper) -> None:
        if len(sleeper.calls) == 1:
            sleeper.ctx.storage.set_alarm(timedelta(seconds=50))
            raise RuntimeError("no luck")

    async with await sleeping(tmp_path) as here:
        now = here.clock.time()
        Sleeper.then = fail_once
        await here.stub(Sleeper).set(now)
        await here.pass_time(0)
        assert await here.rows() == [("Sleeper", "alarm", 0)]
        await here.pass_time(49.99)
        await here.pass_time(0.01)
        assert Sleeper.calls == [("a", now), ("a", now + 50)]


async def test_the_alarm_of_a_class_that_is_gone_is_kept_and_said(tmp_path: Path) -> None:
    clock = ManualClock()
    Sleeper.clock = clock
    async with place(tmp_path, Sleeper, clock=clock) as here:
        await here.stub(Sleeper).set(clock.time() + 5)
    async with place(tmp_path, Job, clock=clock) as here:
        await here.pass_time(5)
        assert await here.rows() == [("Sleeper", "alarm", 0)]
        assert "no class of that name" in str(here.errors[0])
        await here.pass_time(600)
        assert await here.rows() == [("Sleeper", "alarm", 0)]
    async with place(tmp_path, Sleeper, clock=clock) as here:
        await here.pass_time(60)
        assert names() == ["a"]
        assert await here.rows() == []


async def test_alarms_and_schedules_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    Sleeper.clock = clock
    async with place(tmp_path, Sleeper, Job, clock=clock) as here:
        await here.stub(Sleeper).set(clock.time() + 5)
        await here.stub(Job).plan(7, "note", {"n": [1, 2]})
    await clock.advance(3)
    async with place(tmp_path, Sleeper, Job, clock=clock) as here:
        assert await here.stub(Sleeper).due() == clock.time() + 2
        await here.pass_time(2)
        assert names() == ["a"]
        assert Job.calls == []
        await here.pass_time(2)
        assert Job.calls == [{"n": [1, 2]}]
        assert await here.rows() == []


async def test_what_was_due_while_the_platform_was_down_fires_at_its_start(tmp_path: Path) -> None:
    clock = ManualClock()
    Sleeper.clock = clock
    async with place(tmp_path, Sleeper, clock=clock) as here:
        await here.stub(Sleeper).set(clock.time() + 5)
    await clock.advance(3600)
    async with place(tmp_path, Sleeper, clock=clock) as here:
        await here.pass_time(0)
        assert names() == ["a"]


async def test_a_handler_that_a_shutdown_cut_off_is_called_again_and_no_attempt_is_counted(tmp_path: Path) -> None:
    clock = ManualClock()
    Sleeper.clock = clock
    Sleeper.then = lambda sleeper: asyncio.Event().wait() if len(sleeper.calls) == 1 else None
    async with place(tmp_path, Sleeper, clock=clock) as here:
        await here.stub(Sleeper).set(clock.time())
        await here.pass_time(0)
        assert names() == ["a"]
    async with place(tmp_path, Sleeper, clock=clock) as here:
        assert await here.rows() == [("Sleeper", "alarm", 0)] or names() == ["a", "a"]
        await here.pass_time(0)
        assert names() == ["a", "a"]
        assert await here.rows() == []


async def test_a_thousand_alarms_due_at_once_are_all_delivered_at_most_a_hundred_at_a_time(tmp_path: Path) -> None:
    running = 0
    most = 0

    async def work(sleeper: Sleeper) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await sleeper.clock.sleep(1)
        running -= 1

    async with await sleeping(tmp_path) as here:
        due = here.clock.time() + 5
        await asyncio.gather(*(here.stub(Sleeper, str(number)).set(due) for number in range(1000)))
        Sleeper.then = work
        await here.pass_time(5)
        assert running == BATCH
        while len(Sleeper.calls) < 1000 or running:
            before = len(Sleeper.calls), running
            await here.pass_time(1)
            assert (len(Sleeper.calls), running) != before
        assert most == BATCH
        assert sorted(names()) == sorted(str(number) for number in range(1000))
        assert await here.rows() == []


async def test_handlers_that_hang_leave_the_other_places_to_the_rest(tmp_path: Path) -> None:
    Sleeper.then = lambda sleeper: asyncio.Event().wait() if sleeper.ctx.id.name.startswith("stuck") else None
    async with await sleeping(tmp_path) as here:
        for number in range(BATCH - 1):
            await here.stub(Sleeper, f"stuck-{number}").set(here.clock.time() + 1)
        for number in range(50):
            await here.stub(Sleeper, f"free-{number}").set(here.clock.time() + 2)
        await here.pass_time(2)
        for _ in range(50):
            await here.pass_time(0.1)
        assert sum(name.startswith("free") for name in names()) == 50
        assert len(await here.rows()) == BATCH - 1


async def test_an_alarm_whose_end_could_not_be_stored_is_delivered_again(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        store = here.store.group("test")
        await here.stub(Sleeper).set(here.clock.time() + 5)
        await store.write("CREATE TRIGGER refused BEFORE DELETE ON objects_timers BEGIN SELECT RAISE(ABORT, 'no'); END")
        await here.pass_time(5)
        assert names() == ["a"]
        assert "refused a write" in str(here.errors[-1])
        await store.write("DROP TRIGGER refused")
        await here.pass_time(2)
        assert names() == ["a", "a"]
        assert await here.rows() == []


async def test_a_handler_that_hangs_holds_up_nobody_elses_alarm(tmp_path: Path) -> None:
    Sleeper.then = lambda sleeper: asyncio.Event().wait() if sleeper.ctx.id.name == "stuck" else None
    async with await sleeping(tmp_path) as here:
        await here.stub(Sleeper, "stuck").set(here.clock.time() + 1)
        await here.stub(Sleeper, "free").set(here.clock.time() + 2)
        await here.pass_time(2)
        assert names() == ["stuck", "free"]


async def test_pending_timers_cost_no_task_and_one_timer(tmp_path: Path) -> None:
    async with await sleeping(tmp_path) as here:
        await here.stub(Sleeper, "first").set(here.clock.time() + 1_000)
        await here.settle()
        tasks, timers = len(asyncio.all_tasks()), here.clock.pending
        for number in range(300):
            await here.stub(Sleeper, str(number)).set(here.clock.time() + 1_000 + number)
        await here.settle()
        assert len(await here.rows()) == 301
        assert (len(asyncio.all_tasks()), here.clock.pending) == (tasks, timers)


async def test_an_alarm_that_is_being_stored_while_another_fires_is_armed_and_seen(tmp_path: Path) -> None:
    async with stored(tmp_path) as here:
        storage = here.storage()
        storage.set_alarm(1500.0)
        await storage.sync()
        storage.set_alarm(2000.0)
        storage.alarm_fires()
        assert await storage.get_alarm() == 2000.0
        await storage.sync()
        assert here.wakes.changes == [1500.0, 2000.0]
        assert await storage.get_alarm() == 2000.0
        storage.alarm_fired()
        assert await storage.get_alarm() == 2000.0
