"""Schedules: calls of an object's own methods, each a row of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moorings.objects.timers import RETRIES
from tests.unit.objects.timing import Job, forget, place


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Nothing that a test before has left."""
    forget()


async def test_a_schedule_calls_a_method_with_its_payload_once(tmp_path: Path) -> None:
    async with place(tmp_path, Job) as here:
        job = here.stub(Job)
        await job.plan(5, "note", {"who": b"alice", "when": timedelta(1)})
        await job.plan(timedelta(seconds=7), "tick", "dropped, as tick takes nothing")
        await job.plan(datetime.fromtimestamp(here.clock.time() + 6, UTC), "note")
        await here.pass_time(100)
        assert Job.calls == [{"who": b"alice", "when": timedelta(1)}, None, "tick"]
        assert await here.rows() == []


async def test_schedules_are_listed_with_the_earliest_first_and_cancelled_by_id(tmp_path: Path) -> None:
    async with place(tmp_path, Job) as here:
        job = here.stub(Job)
        late = await job.plan(50, "note", "late")
        early = await job.plan(5, "note", "early")
        assert await job.planned() == [early, late]
        assert (early.callback, early.payload, early.due) == ("note", "early", here.clock.time() + 5)
        await job.unplan(early.id)
        await job.unplan("no such schedule")
        assert await job.planned() == [late]
        await here.pass_time(100)
        assert Job.calls == ["late"]
        assert await job.planned() == []


async def test_an_alarm_and_schedules_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with place(tmp_path, Job) as here:
        job = here.stub(Job)
        await job.plan(5, "note", "one")
        await job.set(here.clock.time() + 6)
        await job.plan(7, "note", "two")
        assert len(await here.rows()) == 3
        await here.pass_time(10)
        assert Job.calls == ["one", "alarm", "two"]


async def test_a_failing_schedule_is_called_again_as_an_alarm_is(tmp_path: Path) -> None:
    async with place(tmp_path, Job) as here:
        await here.stub(Job).plan(0, "fail")
        await here.pass_time(0)
        for calls, wait in enumerate((2, 4, 8, 16, 32, 64), 1):
            assert len(Job.calls) == calls
            await here.pass_time(wait)
        assert len(Job.calls) == 1 + RETRIES
        assert str(here.errors[-1]) == "fail was given up after 6 retries"
        assert await here.rows() == []


async def test_a_schedule_of_a_method_that_is_gone_is_reported(tmp_path: Path) -> None:
    async with place(tmp_path, Job) as here:
        await here.stub(Job).plan(0, "note", 1)
        await here.store.group("test").write("UPDATE objects_timers SET callback = 'renamed'")
        await here.pass_time(0)
        assert any("renamed" in str(error) for error in here.errors)


@pytest.mark.parametrize("callback", ["on_start", "alarm", "missing", "__init__"])
async def test_what_is_no_method_to_call_later_is_refused_at_once(tmp_path: Path, callback: str) -> None:
    async with place(tmp_path, Job) as here:
        with pytest.raises(TypeError, match="schedule"):
            await here.stub(Job).plan(5, callback)
        assert await here.rows() == []
