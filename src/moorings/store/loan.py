"""Lending the interpreter lock to the writer thread.

Why it exists: a thread that waits for the interpreter lock gets it when the holder blocks, or after
``sys.getswitchinterval()`` without a release. A saturated event loop does neither: it polls without blocking, many
times per interval, and each release is too short for another thread to be sure to wake up in. How often one does
depends on what else the machine is doing: beside a saturated uvloop, commits were measured that took from
milliseconds to seconds. So the loop, while it has a batch in flight, stops now and then until the writer thread has
had its turn. A loop that rests does not notice.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Final

_FIRST: Final = 0.001
_LAST: Final = 0.008
_LONGEST_STATEMENTS: Final = 0.002
_LONGEST_COMMIT: Final = 0.0001


class Loan:
    """Between a loop, which calls ``begin`` and ``end``, and threads, which call ``waiting`` and ``returned``."""

    __slots__ = ("_delay", "_in_database", "_loop", "_returned", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._returned = threading.Lock()
        self._returned.acquire()
        self._timer: asyncio.TimerHandle | None = None
        self._delay = _FIRST
        self._in_database = False

    def begin(self, *, waiting: bool = False) -> None:
        """The thread has work now: lend it the lock in a while, and again, unless ``end`` comes first.

        ``waiting`` where all of the work is waiting for the disk.
        """
        self._delay = _FIRST
        self._in_database = waiting
        self._timer = self._loop.call_later(_FIRST, self._lend)

    def end(self) -> None:
        """The work is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lend(self) -> None:
        self._returned.acquire(blocking=False)  # whatever was returned before counts no more
        self._returned.acquire(timeout=_LONGEST_COMMIT if self._in_database else _LONGEST_STATEMENTS)
        self._timer = self._loop.call_later(self._delay, self._lend)
        self._delay = min(_LAST, self._delay * 2)

    def waiting(self) -> None:
        """The thread goes on without the lock for a while: it waits for the disk."""
        self._in_database = True
        self.returned()

    def returned(self) -> None:
        """The thread needs the lock no longer."""
        with suppress(RuntimeError):  # another thread has just returned it
            self._returned.release()
