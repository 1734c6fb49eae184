"""Freezing a container's processes with SIGSTOP, and thawing them with SIGCONT (signal(7)).

SIGSTOP can't be caught or ignored, but it takes effect a moment after it was sent, and until then a process may make
others: so the container's processes are looked up again until all that are found have stopped. Thawing signals all that
can be found, so that one that was stopped in a group of its own goes on too.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from moorings.runtimes.process import proc
from moorings.runtimes.process.container import Container
from moorings.runtimes.process.loop import Loop
from moorings.runtimes.process.reaper import Reaper

_LOOKS = 200  # at most; a process in the middle of a disk access stops when that is over
_PAUSE = 0.001  # seconds between two looks


class Freezer:
    """Stops and continues what containers consist of."""

    __slots__ = ("_loop", "_reaper")

    def __init__(self, reaper: Reaper, loop: Loop) -> None:
        self._reaper = reaper
        self._loop = loop

    def freeze(self, container: Container, done: Callable[[], None]) -> None:
        """Stop every process of a container that runs; ``done`` is called when all have stopped."""
        container.incarnation.paused = True
        self._reaper.signal(container, signal.SIGSTOP)
        self._look(container, done, _LOOKS)

    def _look(self, container: Container, done: Callable[[], None], looks: int) -> None:
        if not container.incarnation.paused or container.ending is not None:
            done()  # it was thawed or killed meanwhile
            return
        moving = [pid for pid in self._reaper.processes(container) if not proc.is_stopped(pid)]
        if not moving or not looks:
            done()
            return
        for pid in moving:
            proc.send(pid, proc.start_ticks(pid), signal.SIGSTOP)
        self._loop.call_later(_PAUSE, lambda: self._look(container, done, looks - 1))

    def thaw(self, container: Container) -> None:
        """Let every process of a container go on."""
        if not container.incarnation.paused:
            return
        container.incarnation.paused = False
        self._reaper.signal(container, signal.SIGCONT)
        for pid in self._reaper.processes(container):
            if proc.is_stopped(pid):
                proc.send(pid, proc.start_ticks(pid), signal.SIGCONT)
