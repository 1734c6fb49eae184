"""Durations as users write them: seconds, ``timedelta``, or ``"30s"``, ``"5m"``, ``"1h"``, ``"2d"``, ``"250ms"``."""

from __future__ import annotations

import math
import re
from datetime import timedelta

_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def seconds(value: str | float | timedelta) -> float:
    """The duration in seconds.

    Raises TypeError for another type, and ValueError for a negative or infinite one or a text that can't be read.
    """
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        result = float(value)
    elif isinstance(value, str):
        result = _from_text(value)
    else:
        raise TypeError(f"a duration is a number of seconds, a timedelta or a text such as '5m', not {value!r:.80}")
    if not math.isfinite(result) or result < 0:
        raise ValueError(f"a duration is finite and not negative, not {value!r}")
    return result


def _from_text(text: str) -> float:
    match = _TEXT.fullmatch(text.strip().lower())
    unit = match.group(2) if match else ""
    factor = _UNITS.get(unit) or (_UNITS.get(unit[:-1]) if unit.endswith("s") and len(unit) > 2 else None)
    if match is None or factor is None:
        raise ValueError(f"{text!r} is no duration; write a number and a unit, such as '30s', '5m', '1h' or '2 days'")
    return float(match.group(1)) * factor
