"""When a container may sleep.

Idle means no request in flight and nothing that renewed the timeout for ``sleep_after`` seconds. One timer per running
container, armed lazily: a request only counts up and down and notes the time, it never touches the timer.
"""

from __future__ import annotations

from collections.abc import Callable

from moorings.clock import Clock, TimerHandle


class Activity:
    """The activity clock of one container."""

    __slots__ = (
        "_clock",
        "_expired",
        "_timer",
        "_waiting",
        "in_flight",
        "last",
        "monotonic",
        "renewals",
        "sleep_after",
    )

    def __init__(self, clock: Clock, sleep_after: float, expired: Callable[[], None]) -> None:
        """``expired()`` is called once, after ``sleep_after`` idle seconds; ``arm`` it again then."""
        self._clock = clock
        self._expired = expired
        self._timer: TimerHandle | None = None
        self._waiting = False
        self.monotonic = clock.monotonic
        self.sleep_after = sleep_after
        self.in_flight = 0
        self.renewals = 0
        self.last = clock.monotonic()

    def begin(self) -> None:
        """A request is in flight."""
        self.in_flight += 1

    def end(self) -> None:
        """It isn't any more. The idle period starts with the last one's end."""
        self.in_flight -= 1
        if not self.in_flight:
            self.renew()

    def renew(self) -> None:
        """Something happened: the idle period starts anew."""
        self.renewals += 1
        self.last = self.monotonic()
        if self._waiting and not self.in_flight:
            self.arm()

    def arm(self) -> None:
        """Start watching, from now on."""
        self.disarm()
        left = self.last + self.sleep_after - self.monotonic()
        self._timer = self._clock.call_later(left, self._check)

    def disarm(self) -> None:
        """Stop watching; idempotent."""
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self.in_flight:
            self._waiting = True
        elif self.monotonic() < self.last + self.sleep_after:
            self.arm()
        else:
            self._expired()
