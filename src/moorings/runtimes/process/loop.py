"""The supervisor's event loop: descriptors, timers and signals, on one thread. asyncio would cost 6 MiB and 40 ms."""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import time
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A call to come; ``cancel`` is idempotent."""

    __slots__ = ("callback", "order", "when")

    def __init__(self, when: float, order: int, callback: Callable[[], None]) -> None:
        self.when = when
        self.order = order
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return (self.when, self.order) < (other.when, other.order)


class Loop:
    """Runs callbacks until ``stop``. Signals that ``on_signal`` names are delivered as callbacks, between others."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._count = 0
        self._is_running = True
        self._signals: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.add(self._wake_read, READ, self._woken)

    def add(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(ready events)`` whenever the descriptor is ready."""
        self._selector.register(descriptor, events, callback)

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events (at least one)."""
        key = self._selector.get_key(descriptor)
        self._selector.modify(descriptor, events, key.data)

    def remove(self, descriptor: int) -> None:
        """Watch no more; before the descriptor is closed."""
        self._selector.unregister(descriptor)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once after ``delay`` seconds."""
        self._count += 1
        timer = Timer(time.monotonic() + delay, self._count, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def on_signal(self, signum: int, callback: Callable[[], None]) -> None:
        """Deliver a signal as a callback; several of one kind may become one call."""
        self._signals[signum] = callback
        signal.signal(signum, _noted)

    def stop(self) -> None:
        """Return from ``run`` after the current callback."""
        self._is_running = False

    def run(self) -> None:
        """Serve until stopped."""
        while self._is_running:
            for key, events in self._selector.select(self._timeout()):
                if self._is_current(key):
                    key.data(events)
            now = time.monotonic()
            while self._timers and self._timers[0].when <= now:
                callback = heapq.heappop(self._timers).callback
                if callback is not None:
                    callback()

    def _is_current(self, key: selectors.SelectorKey) -> bool:
        # A callback of the same round may have closed the descriptor, and its number may be another's by now.
        current = self._selector.get_map().get(key.fd)
        return current is not None and current.data is key.data

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None

    def _woken(self, events: int) -> None:
        try:
            arrived = set(os.read(self._wake_read, 4096))
        except BlockingIOError:
            return
        for signum in arrived:
            callback = self._signals.get(signum)
            if callback is not None:
                callback()


def _noted(signum: int, frame: object) -> None:
    """The wakeup descriptor tells the loop; the handler itself has nothing to do."""
