"""Signals as users write them: a number, ``signal.SIGTERM``, or a name such as ``"SIGTERM"`` (Cloudflare's form)."""

from __future__ import annotations

import signal


def signal_number(value: int | str | signal.Signals) -> int:
    """The signal's number. Raises TypeError for another type, and ValueError where there is no such signal."""
    if isinstance(value, str):
        name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
        if name in signal.Signals.__members__:
            return int(signal.Signals[name])
        raise ValueError(f"there is no signal {value!r}; write a name such as 'SIGTERM', or its number")
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a signal is a number or a name such as 'SIGTERM', not {value!r:.40}")
    if value not in signal.valid_signals() or value <= 0:
        raise ValueError(f"there is no signal {value}; the numbers go from 1 to {max(signal.valid_signals())}")
    return value
