"""Cron expressions as Cloudflare writes them: five fields, UTC, and weekdays from 1 (Sunday) to 7 (Saturday).

cronsim counts weekdays as Unix does (0 or 7 is Sunday), so numbers in that field are turned into names, which mean the
same to both. ``0`` is refused: it is no weekday on Cloudflare, and whoever writes it means Unix's numbers.
Source: developers.cloudflare.com/workers/configuration/cron-triggers/#supported-cron-expressions
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

MINUTE = 60
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class CronExpression:
    """One expression. ``text`` is as the user wrote it, but for spaces: one between fields, none around them."""

    __slots__ = ("_rule", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError with what is wrong."""
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"it has {len(fields)} field{'' if len(fields) == 1 else 's'}")
        self.text = " ".join(fields)
        self._rule = " ".join([*fields[:4], ",".join(_weekdays(term) for term in fields[4].split(","))])
        try:
            next(CronSim(self._rule, datetime(2000, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(str(error)[:1].lower() + str(error)[1:]) from None
        except StopIteration:
            raise ValueError("it never comes") from None

    def next(self, after: float) -> int:
        """The first time after ``after`` (Unix seconds) at which it is due: the start of a minute."""
        return int(next(CronSim(self._rule, _moment(after))).timestamp())

    def latest(self, until: float) -> int | None:
        """The last time at or before ``until`` at which it was due; None where there was none for 50 years."""
        # cronsim steps back from the moment it is given, so it is given the minute after.
        found = next(CronSim(self._rule, _moment(until // MINUTE * MINUTE + MINUTE), reverse=True), None)
        return None if found is None else int(found.timestamp())


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time // MINUTE * MINUTE, UTC)


def _weekdays(term: str) -> str:
    """One term of the last field, with names for numbers: ``2-6`` → ``MON-FRI``, ``2/2`` → ``MON-SAT/2``."""
    span, slash, step = term.partition("/")
    if last := re.fullmatch(r"(\w+)L", span, re.IGNORECASE):
        return f"{_DAYS.index(_day(last.group(1)))}L{slash}{step}"
    span, nth, which = span.partition("#")
    first, dash, end = span.partition("-")
    if first == "*":
        return term
    if slash and not dash:
        dash, end = "-", "7"
    return f"{_day(first)}{dash}{_day(end) if dash else ''}{nth}{which}{slash}{step}"


def _day(text: str) -> str:
    name = text.upper()
    if name in _DAYS:
        return name
    if name not in ("1", "2", "3", "4", "5", "6", "7"):
        raise ValueError(f"{text!r} is no weekday: they are 1 (Sunday) to 7 (Saturday), or SUN to SAT")
    return _DAYS[int(name) - 1]
