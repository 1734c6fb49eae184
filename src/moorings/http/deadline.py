"""Deadline: a timeout that is moved with every request and hardly ever happens.

Moving it later costs one look at the clock: the timer that is armed looks again when it fires. So a connection arms a
timer about once per timeout, not once per request.
"""

from __future__ import annotations

from collections.abc import Callable

from moorings.clock import Clock, TimerHandle

_EARLY = 0.001  # seconds by which a timer may fire early


class Deadline:
    """Calls ``expired()`` once, unless it is moved or cleared before. ``at`` is None while nothing is due."""

    __slots__ = ("_clock", "_expired", "_now", "_timer", "_timer_at", "at")

    def __init__(self, clock: Clock, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._now = clock.monotonic
        self._expired = expired
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self.at: float | None = None

    def set(self, seconds: float) -> None:
        """Expire in ``seconds`` from now, instead of when it was due before."""
        at = self.at = self._now() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._arm(seconds, at)

    def stop(self) -> None:
        """Never expire; let go of the timer."""
        self.at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float, at: float) -> None:
        self._timer_at = at
        self._timer = self._clock.call_later(seconds, self._fired)

    def _fired(self) -> None:
        self._timer = None
        at = self.at
        if at is None:
            return
        left = at - self._now()
        if left > _EARLY:
            self._arm(left, at)
            return
        self.at = None
        self._expired()
