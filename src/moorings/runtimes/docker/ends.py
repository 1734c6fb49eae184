"""How a container ended, from what the Engine says of it.

The Engine has one number for the exit code and the signal: 128 + n is taken for signal n, as a shell does, unless the
platform killed the container or the kernel did for its memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from typing import Any

from moorings.runtimes.base import Exit, ExitReason

LOST = 137
"""The exit code of a container that is simply gone."""


class Cause(Enum):
    """What is known of an end besides its code."""

    UNKNOWN = auto()
    KILLED = auto()  # the platform did it
    ENGINE = auto()  # it went down with its Engine, or was removed


_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


def unix_time(text: str) -> float:
    """A time as the Engine writes it (RFC 3339 with nanoseconds), in Unix seconds. Raises ValueError."""
    return datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text).replace("Z", "+00:00")).timestamp()


def exit_of(state: Mapping[str, Any], cause: Cause, now: float) -> Exit:
    """The end of a container whose ``State`` this is."""
    code = int(state.get("ExitCode") or 0)
    try:
        at = unix_time(str(state.get("FinishedAt")))
    except ValueError:
        at = now
    if at <= 0:  # year 1: the Engine has not written it
        at = now
    return Exit(code, reason_of(code, cause, oom=bool(state.get("OOMKilled"))), at)


def reason_of(code: int, cause: Cause, *, oom: bool) -> ExitReason:
    """Why a container ended with ``code``."""
    if cause is Cause.ENGINE:
        return ExitReason.PLATFORM
    if cause is Cause.KILLED and code == LOST:
        return ExitReason.DESTROYED
    if oom and code == LOST:
        return ExitReason.OOM
    return ExitReason.SIGNAL if 128 < code <= 128 + 64 else ExitReason.EXIT
