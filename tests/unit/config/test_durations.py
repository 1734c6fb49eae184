from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from moorings.config.durations import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5.0),
        (0.25, 0.25),
        (timedelta(minutes=2), 120.0),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("2 days", 172800.0),
        ("250ms", 0.25),
        ("10 Seconds", 10.0),
    ],
)
def test_durations_are_read_as_users_write_them(value: Any, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize("value", ["", "5", "m", "5 parsecs", "-5s", "5s5", -1, float("inf"), float("nan")])
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


@pytest.mark.parametrize("value", [None, True, [5]])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="duration"):
        seconds(value)
