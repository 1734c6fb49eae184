"""The closed set of types, and what is common to copying and encoding them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

MAX_DEPTH: Final = 200
"""How many containers may be nested in one another."""

NATIVE: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Scalars that MessagePack knows (an int up to 64 bits, a str without lone surrogates)."""

ATOMS: Final = NATIVE | {timedelta}
"""Immutable scalars: a copy is the value itself."""

CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})

STR: Final = frozenset({str})


class Refused(Exception):
    """A walk met something that has no copy; ``refusals.explain`` works out a sentence about it."""


def check_zone(value: datetime) -> None:
    """Raises Refused where the time zone of ``value`` is of a kind that can't be kept."""
    zone = value.tzinfo
    if zone is None or type(zone) is timezone or (type(zone) is ZoneInfo and zone.key is not None):
        return
    raise Refused
