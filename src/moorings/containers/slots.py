"""``max_instances``: how many containers of a class may exist at once, and the queue of those who wait for a place.

Whoever has a place and could do without it (a paused container, a warm spare) offers it; it is asked to give way when
somebody waits, one place for each who does.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from moorings.clock import Clock, TimerHandle
from moorings.errors import NoInstanceAvailable


class Occupant(Protocol):
    """Who has a place that it could do without. Of those offered the lowest ``rank`` goes first, then the oldest."""

    @property
    def rank(self) -> int: ...

    def give_way(self) -> asyncio.Future[None]:
        """Begin to leave. Done when the place was released, or when it won't be."""


class Patience:
    """How long those who wait for one place do: whoever joins them may only make it longer.

    ``begun`` is set when the time begins to count, ``over`` when the wait has ended, in whatever way.
    """

    __slots__ = ("_clock", "_timer", "_until", "begun", "over", "timeout")

    def __init__(self, clock: Clock, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self._clock = clock
        self._timer: TimerHandle | None = None
        self._until = 0.0
        self.timeout = timeout
        self.begun: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()

    def begin(self, give_up: Callable[[], object]) -> None:
        """From now on the time counts; ``give_up`` is called at its end."""
        self._until = self._clock.monotonic() + self.timeout
        self.begun.set_result(None)
        self._arm(give_up)

    def extend(self, timeout: float) -> None:
        """Somebody wants to wait ``timeout`` seconds, from now on, or from the beginning where that is to come."""
        self.timeout = max(self.timeout, timeout)
        self._until = max(self._until, self._clock.monotonic() + timeout)

    def end(self) -> None:
        """Nobody waits any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        for future in (self.begun, self.over):
            if not future.done():
                future.set_result(None)

    def _arm(self, give_up: Callable[[], object]) -> None:
        left = self._until - self._clock.monotonic()
        if left > 0:
            self._timer = self._clock.call_later(left, self._arm, give_up)
        else:
            give_up()


class Slots:
    """A counting semaphore with deadlines; places are given in the order in which they were asked for."""

    __slots__ = ("_class_name", "_clock", "_leaving", "_offered", "_waiting", "limit", "on_free", "used")

    def __init__(self, class_name: str, limit: int, clock: Clock) -> None:
        self._class_name = class_name
        self._clock = clock
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._offered: dict[Occupant, None] = {}
        self._leaving: set[asyncio.Future[None]] = set()
        self.limit = limit
        self.used = 0
        self.on_free: Callable[[], object] | None = None
        """Called when a place was released that nobody waits for."""

    async def acquire(self, patience: Patience) -> None:
        """Take a place, waiting as long as there is patience, which has not begun. Raises NoInstanceAvailable."""
        if self.acquire_now():
            patience.end()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = None
        patience.begin(lambda: self._give_up(place, patience.timeout))
        self._make_room()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()
            raise
        finally:
            patience.end()
            self._waiting.pop(place, None)

    def acquire_now(self) -> bool:
        """Take a place if one is free that nobody waits for."""
        if self.used >= self.limit or self._waiting:
            return False
        self.used += 1
        return True

    def _give_up(self, place: asyncio.Future[None], timeout: float) -> None:
        if not place.done():
            place.set_exception(self.none_free(timeout))

    def none_free(self, timeout: float) -> NoInstanceAvailable:
        """What somebody is told who waited ``timeout`` seconds in vain."""
        return NoInstanceAvailable(
            f"{self._class_name}: all {self.limit} instances (max_instances) are in use, and none became free within "
            f"{timeout:g} s",
            retry_after=max(1, math.ceil(timeout)),
        )

    def take(self) -> None:
        """Take a place for a container that exists already, even beyond the limit."""
        self.used += 1

    def release(self) -> None:
        """Give a place back."""
        self.used -= 1
        self._hand_out()

    def resize(self, limit: int) -> None:
        """Change the number of places; those in use beyond it are not taken away."""
        self.limit = limit
        self._hand_out()

    def offer(self, occupant: Occupant) -> None:
        """From now on an occupant gives way when somebody waits for a place; it is asked once."""
        self._offered[occupant] = None
        self._make_room()

    def withdraw(self, occupant: Occupant) -> None:
        """It doesn't any more. Idempotent."""
        self._offered.pop(occupant, None)

    def _hand_out(self) -> None:
        while self._waiting and self.used < self.limit:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():
                self.used += 1
                place.set_result(None)
        if self.used < self.limit and self.on_free is not None:
            self.on_free()

    def _make_room(self) -> None:
        while self._offered and len(self._waiting) > len(self._leaving):
            occupant = min(self._offered, key=lambda each: each.rank)
            del self._offered[occupant]
            leaving = occupant.give_way()
            self._leaving.add(leaving)
            leaving.add_done_callback(self._left)

    def _left(self, leaving: asyncio.Future[None]) -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled():
            leaving.exception()  # whoever gave way reports it
        self._make_room()
