"""What users give steps to wait for, and names of steps and events: checked, with the step in the error."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from moorings.config.durations import seconds
from moorings.objects.timers import checked
from moorings.objects.timers import seconds as unix_seconds

LONGEST: Final = 365 * 86_400.0
"""Seconds that a step may wait (Cloudflare: 365 days)."""

LONGEST_NAME: Final = 256
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def step_name(name: object) -> str:
    """A step's name. Raises TypeError, and ValueError where it is empty, over 256 characters or can't be stored."""
    if type(name) is not str:
        raise TypeError(f"a step's name is a text, not {name!r:.80}")
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"a step's name has 1 to {LONGEST_NAME} characters, not {len(name)}: {name!r:.80}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a step's name has half of a surrogate pair, which is no text: {name!r:.80}") from None
    return name


def period(value: str | float | timedelta, what: str) -> float:
    """A duration in seconds. Raises TypeError or ValueError, which begin with ``what``."""
    try:
        result = seconds(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None
    if result > LONGEST:
        raise ValueError(f"{what}: a step waits for 365 days at most, not {value!r}")
    return result


def moment(when: datetime | float, what: str) -> float:
    """A point in time in Unix seconds. Raises TypeError or ValueError, which begin with ``what``."""
    if isinstance(when, bool) or not isinstance(when, datetime | int | float):
        raise TypeError(f"{what}: a time is a datetime or Unix seconds, not {when!r:.80}")
    try:
        return checked(unix_seconds(when) if isinstance(when, datetime) else float(when), when)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def event_type_of(value: object, what: str) -> str:
    """The type of an event. Raises TypeError or ValueError, which begin with ``what``."""
    if type(value) is not str:
        raise TypeError(f"{what}: type is a text, not {value!r:.80}")
    if _EVENT_TYPE.fullmatch(value) is None:
        raise ValueError(f"{what}: type is 1 to 100 letters, digits, '-', '_' and '.', not {value!r:.120}")
    return value
