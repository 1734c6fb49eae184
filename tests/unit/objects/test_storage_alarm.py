"""An object's one alarm: when it may be set for, and who is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from moorings.objects.schedules import due_time
from tests.unit.objects.storing import Place, place


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("when", "due"),
    [
        (5, 5.0),
        (1234.5, 1234.5),
        (timedelta(minutes=1), 1060.0),
        (datetime(2024, 1, 1, tzinfo=UTC), 1704067200.0),
        (datetime(2024, 1, 1), datetime(2024, 1, 1).timestamp()),
    ],
    ids=str,
)
async def test_an_alarm_is_set_in_seconds_by_datetime_or_by_timedelta(here: Place, when: Any, due: float) -> None:
    storage = here.storage()
    storage.set_alarm(when)
    assert await storage.get_alarm() == due
    await storage.sync()
    assert await storage.get_alarm() == due
    assert await here.storage().get_alarm() == due
    assert await here.store.read("SELECT due FROM objects_timers") == [(due,)]


@pytest.mark.parametrize("when", [None, "5", True, 1_700_000_000_000, -1, float("nan"), float("inf")], ids=str)
async def test_what_is_no_time_is_refused(here: Place, when: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"alarm is set for|Unix seconds"):
        here.storage().set_alarm(when)


async def test_whoever_wakes_the_object_is_told_of_the_last_alarm_once_it_is_durable(here: Place) -> None:
    storage = here.storage()
    storage.set_alarm(1)
    storage.set_alarm(2)
    assert here.wakes.changes == []
    await storage.sync()
    assert here.wakes.changes == [2.0]
    storage.delete_alarm()
    await storage.sync()
    assert here.wakes.changes == [2.0, None]
    assert await here.storage().get_alarm() is None


@pytest.mark.parametrize(
    "when",
    [timedelta.max, timedelta.min, datetime.min, datetime.min.replace(tzinfo=UTC), datetime(1969, 1, 1, tzinfo=UTC)],
)
async def test_an_alarm_beyond_the_calendar_is_refused_in_every_form(tmp_path: Path, when: Any) -> None:
    async with place(tmp_path) as here:
        storage = here.storage()
        with pytest.raises(ValueError, match="out of range"):
            storage.set_alarm(when)
        assert await storage.get_alarm() is None
        if isinstance(when, datetime):
            with pytest.raises(ValueError, match="out of range"):
                due_time(when, here.clock)
