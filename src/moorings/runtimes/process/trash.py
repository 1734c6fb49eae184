"""Deleting what containers left, in a process of its own: a container may leave a million files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from moorings.runtimes.process.reaper import Reaper

_AT_ONCE = 500
_DELETE = 'chmod -R u+rwX -- "$@"; exec rm -rf -- "$@"'  # caches such as Go's have folders that may not be written


class Trash:
    """Deletes folders, one process at a time."""

    __slots__ = ("_emptied", "_is_busy", "_paths", "_reaper", "_say")

    def __init__(self, reaper: Reaper, *, emptied: Callable[[], None], say: Callable[[str], None]) -> None:
        self._reaper = reaper
        self._emptied = emptied
        self._say = say
        self._paths: list[str] = []
        self._is_busy = False

    @property
    def is_busy(self) -> bool:
        """Whether something is being deleted; ``emptied`` is called at its end."""
        return self._is_busy

    def add(self, paths: list[str]) -> None:
        """Delete these folders with all they contain, later."""
        self._paths += paths
        if self._is_busy or not self._paths:
            return
        batch, self._paths = self._paths[:_AT_ONCE], self._paths[_AT_ONCE:]
        arguments = ["sh", "-c", _DELETE, "sh", *batch]
        try:
            pid = os.posix_spawn("/bin/sh", arguments, {"PATH": os.defpath}, setsigdef=[signal.SIGPIPE])
        except OSError as error:
            self._say(f"private folders can't be deleted: {error.strerror}")  # the next supervisor tries again
            return
        self._is_busy = True
        self._reaper.watch_helper(pid, self._deleted)

    def _deleted(self) -> None:
        self._is_busy = False
        self.add([])
        if not self._is_busy:
            self._emptied()
