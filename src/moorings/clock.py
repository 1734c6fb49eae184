"""Time as a parameter: nothing in the platform reads an ambient clock or arms an ambient timer.

Two clocks in one: ``time()`` is wall time (Unix seconds, for what is stored and shown), ``monotonic()`` counts
seconds that never jump (for budgets and timers). ``ManualClock`` moves only when told, so tests of long waits take
no time.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Any, Protocol


class TimerHandle(Protocol):
    """A timer that is armed; ``cancel`` is idempotent and may be called after it fired."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the platform knows of time. All methods are called from the event loop's thread."""

    def time(self) -> float:
        """Wall time, in Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that only grow; the zero point is arbitrary."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``callback(*args)`` once after ``delay`` seconds (at once, on the next turn, if not positive)."""

    async def sleep(self, delay: float) -> None:
        """Return after ``delay`` seconds."""


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        return asyncio.get_running_loop().call_later(max(0.0, delay), callback, *args)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(max(0.0, delay))


class _ManualTimer:
    __slots__ = ("args", "callback", "cancelled", "order", "when")

    def __init__(self, when: float, order: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when = when
        self.order = order
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __lt__(self, other: _ManualTimer) -> bool:
        return (self.when, self.order) < (other.when, other.order)


class ManualClock:
    """A clock for tests: stands still until ``advance``; timers fire in order, each followed by a settled loop."""

    def __init__(self, *, start: float = 1_000_000.0) -> None:
        self._start = start
        self._now = 0.0
        self._timers: list[_ManualTimer] = []
        self._count = 0

    def time(self) -> float:
        return self._start + self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        self._count += 1
        timer = _ManualTimer(self._now + max(0.0, delay), self._count, callback, args)
        heapq.heappush(self._timers, timer)
        return timer

    async def sleep(self, delay: float) -> None:
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def jump(self, seconds: float) -> None:
        """Let wall time jump, back where negative, as after a correction or a suspend: timers don't notice."""
        self._start += seconds

    async def advance(self, seconds: float) -> None:
        """Move time forward, firing what falls due on the way, and let the loop settle after each timer."""
        end = self._now + seconds
        await self.settle()
        while self._timers and self._timers[0].when <= end:
            timer = heapq.heappop(self._timers)
            self._now = max(self._now, timer.when)
            if not timer.cancelled:
                timer.callback(*timer.args)
            await self.settle()
        self._now = end
        await self.settle()

    @property
    def pending(self) -> int:
        """How many timers are armed."""
        return sum(not timer.cancelled for timer in self._timers)

    @staticmethod
    async def settle(turns: int = 20) -> None:
        """Give callbacks and tasks that are ready ``turns`` turns of the loop."""
        for _ in range(turns):
            await asyncio.sleep(0)
