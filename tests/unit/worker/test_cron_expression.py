"""Cron expressions, in Cloudflare's syntax."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorings.worker.cron_expression import CronExpression

THURSDAY = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def times(text: str, count: int = 3) -> list[str]:
    """The next times after the beginning of 2026, a Thursday."""
    expression, moment, found = CronExpression(text), THURSDAY, []
    for _ in range(count):
        moment = expression.next(moment)
        found.append(f"{datetime.fromtimestamp(moment, UTC):%a %d %b %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["Thu 01 Jan 00:01", "Thu 01 Jan 00:02", "Thu 01 Jan 00:03"]),
        ("*/30 * * * *", ["Thu 01 Jan 00:30", "Thu 01 Jan 01:00", "Thu 01 Jan 01:30"]),
        ("45 * * * *", ["Thu 01 Jan 00:45", "Thu 01 Jan 01:45", "Thu 01 Jan 02:45"]),
        ("0 15 1 * *", ["Thu 01 Jan 15:00", "Sun 01 Feb 15:00", "Sun 01 Mar 15:00"]),
        ("59 23 LW * *", ["Fri 30 Jan 23:59", "Fri 27 Feb 23:59", "Tue 31 Mar 23:59"]),
        ("0 0 L feb,APR *", ["Sat 28 Feb 00:00", "Thu 30 Apr 00:00", "Sun 28 Feb 00:00"]),
        ("0 0 29 2 *", ["Tue 29 Feb 00:00", "Sun 29 Feb 00:00", "Fri 29 Feb 00:00"]),
    ],
)
def test_an_expression_comes_when_cloudflares_documentation_says(text: str, expected: list[str]) -> None:
    assert times(text) == expected


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ("0 17 * * 1", "0 17 * * sun"),
        ("0 17 * * 7", "0 17 * * SAT"),
        ("10 7 * * 2-6", "10 7 * * mon-fri"),
        ("0 0 * * 1,3,5", "0 0 * * SUN,TUE,THU"),
        ("0 18 * * 6L", "0 18 * * friL"),
        ("0 10 * * 2#2", "0 10 * * MON#2"),
        ("0 0 * * 2/2", "0 0 * * MON,WED,FRI"),
        ("0 0 * * 1-7/3", "0 0 * * SUN,WED,SAT"),
        ("0 0 * * */3", "0 0 * * SUN,WED,SAT"),
        ("0 0 * * *", "0 0 * * SUN-SAT"),
    ],
)
def test_weekdays_are_counted_from_1_for_sunday(numbers: str, names: str) -> None:
    assert times(numbers, 10) == times(names, 10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        ("* * * * * *", "it has 6 fields"),
        ("@daily", "it has 1 field$"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("*/0 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("x * * * *", "bad minute"),
        ("0 0 15W * *", "bad day-of-month"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * * 0", "'0' is no weekday"),
        ("0 0 * * 8", "'8' is no weekday"),
        ("0 0 * * 2-", "'' is no weekday"),
        ("0 0 * * L", "'L' is no weekday"),
        ("0 0 * * 1#6", "bad day-of-week"),
        ("0 0 * * 1/x", "bad day-of-week"),
    ],
)
def test_what_is_no_expression_is_refused_with_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CronExpression(text)


def test_spaces_do_not_make_another_expression() -> None:
    assert CronExpression("  */5\t* * *  MON ").text == "*/5 * * * MON"


def test_the_latest_time_is_the_minute_itself_while_it_lasts() -> None:
    expression = CronExpression("*/5 * * * *")
    assert expression.latest(THURSDAY - 0.1) == THURSDAY - 300
    assert expression.latest(THURSDAY) == expression.latest(THURSDAY + 299.9) == THURSDAY
    assert expression.latest(THURSDAY + 300) == THURSDAY + 300


@given(st.integers(0, 4_000_000_000), st.sampled_from(["* * * * *", "7 */2 * * 2-6", "0 0 29 2 *", "0 3 L * 6L"]))
def test_nothing_comes_between_the_latest_time_and_the_next(moment: int, text: str) -> None:
    expression = CronExpression(text)
    latest, following = expression.latest(moment), expression.next(moment)
    assert latest is not None
    assert latest <= moment < following
    assert expression.next(latest) == following
    assert expression.latest(following - 1) == latest
