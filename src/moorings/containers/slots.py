"""``max_instances``: how many containers of a class may run at once, and the queue of those who wait for a place."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from moorings.clock import Clock
from moorings.errors import NoInstanceAvailable


class Slots:
    """A counting semaphore with deadlines; places are given in the order in which they were asked for."""

    __slots__ = ("_class_name", "_clock", "_waiting", "limit", "used")

    def __init__(self, class_name: str, limit: int, clock: Clock) -> None:
        self._class_name = class_name
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.limit = limit
        self.used = 0

    async def acquire(self, timeout: float) -> None:
        """Take a place, waiting up to ``timeout`` seconds. Raises NoInstanceAvailable."""
        if self.used < self.limit and not self._waiting:
            self.used += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        timer = self._clock.call_later(timeout, self._give_up, place, timeout)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()
            raise
        finally:
            timer.cancel()

    def _give_up(self, place: asyncio.Future[None], timeout: float) -> None:
        if not place.done():
            place.set_exception(
                NoInstanceAvailable(
                    f"{self._class_name}: all {self.limit} instances (max_instances) are in use, and none became free "
                    f"within {timeout:g} s",
                    retry_after=max(1, math.ceil(timeout)),
                )
            )

    def take(self) -> None:
        """Take a place for a container that runs already, even beyond the limit."""
        self.used += 1

    def release(self) -> None:
        """Give a place back."""
        self.used -= 1
        self._hand_out()

    def resize(self, limit: int) -> None:
        """Change the number of places; those in use beyond it are not taken away."""
        self.limit = limit
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.used < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self.used += 1
                place.set_result(None)
