"""How a step is repeated: the user's configuration of a step, checked, and the time of its next attempt.

Source: developers.cloudflare.com/workflows/build/sleeping-and-retrying/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from moorings.config.durations import seconds


class Backoff(StrEnum):
    """How the wait grows from attempt to attempt."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class StepConfig:
    """``limit``: attempts after the first; ``delay`` and ``timeout`` (of one attempt) in seconds."""

    limit: int = 5
    delay: float = 10.0
    backoff: Backoff = Backoff.EXPONENTIAL
    timeout: float = 600.0


DEFAULT: Final = StepConfig()
LONGEST_WAIT: Final = 365 * 86_400.0
"""Seconds between two attempts at most, however the back-off grows."""


def read_config(config: Mapping[str, Any] | None, step: str) -> StepConfig:
    """The configuration of a step as users write it.

    ``{"retries": {"limit": 5, "delay": "10 seconds", "backoff": "exponential"}, "timeout": "10 minutes"}``, each part
    of which may be left out; these are the defaults. Raises TypeError or ValueError, which name the part.
    """
    if not config:
        return DEFAULT
    what = f"the configuration of step {step!r}"
    _known(config, ("retries", "timeout"), what)
    retries = config.get("retries")
    if retries is None:
        retries = {}
    _known(retries, ("limit", "delay", "backoff"), f"{what}: retries")
    limit = retries.get("limit", DEFAULT.limit)
    if type(limit) is not int:
        raise TypeError(f"{what}: retries.limit is a whole number, not {limit!r:.80}")
    if limit < 0:
        raise ValueError(f"{what}: retries.limit is 0 or more, not {limit}")
    backoff = retries.get("backoff", DEFAULT.backoff)
    if backoff not in tuple(Backoff):
        raise ValueError(f"{what}: retries.backoff is one of {', '.join(Backoff)}, not {backoff!r:.80}")
    delay = _duration(retries.get("delay", DEFAULT.delay), f"{what}: retries.delay")
    timeout = _duration(config.get("timeout", DEFAULT.timeout), f"{what}: timeout")
    if timeout <= 0:
        raise ValueError(f"{what}: timeout is more than 0")
    return StepConfig(limit, delay, Backoff(backoff), timeout)


def wait_after(config: StepConfig, attempts: int) -> float | None:
    """Seconds until the next attempt after ``attempts`` that failed; None where there is none left."""
    if attempts > config.limit:
        return None
    match config.backoff:
        case Backoff.CONSTANT:
            factor = 1.0
        case Backoff.LINEAR:
            factor = float(attempts)
        case Backoff.EXPONENTIAL:
            factor = 2.0 ** min(attempts - 1, 64)
    return min(LONGEST_WAIT, config.delay * factor)


def _known(value: Any, names: tuple[str, ...], what: str) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is a dict, not {value!r:.80}")
    for name in value:
        if name not in names:
            raise ValueError(f"{what} has {', '.join(names)}, but no {name!r:.40}")


def _duration(value: Any, what: str) -> float:
    if not isinstance(value, str | int | float | timedelta):
        raise TypeError(f"{what} is seconds, a timedelta or a text such as '5 minutes', not {value!r:.80}")
    try:
        return seconds(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None
