"""Allowance: how often a peer may do what costs it nothing and us something.

HTTP/2 has frames that move no request forward: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA. A few
are needed, so nothing forbids them; a flood of them is an attack (CVE-2019-9511 to 9518, CVE-2023-44487,
CVE-2025-8671). So each is paid for out of an allowance, which grows with time and with what the peer does that is of
use.
"""

from __future__ import annotations

from collections.abc import Callable


class Allowance:
    """A token bucket. It starts full, with ``burst`` tokens, and never holds more; ``per_second`` come back."""

    __slots__ = ("_burst", "_left", "_now", "_per_second", "_since")

    def __init__(self, *, burst: float, per_second: float, now: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._now = now
        self._left = burst
        self._since = now()

    def earn(self, tokens: float) -> None:
        """Something of use was done."""
        left = self._left + tokens
        self._left = left if left < self._burst else self._burst

    def spend(self, tokens: float) -> bool:
        """Take tokens; False where too few are left."""
        left = self._left - tokens
        if left < 0:
            now = self._now()
            left = min(self._burst, self._left + (now - self._since) * self._per_second) - tokens
            self._since = now
            if left < 0:
                return False
        self._left = left
        return True
