"""Standard output that never holds up the platform.

A terminal that is paused and a pipe that nobody reads block whoever writes to them. Here a thread does that; the event
loop only puts lines into a queue. Past ``LIMIT`` waiting lines new ones are dropped and counted, and the gap is said.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import TextIO

LIMIT = 50_000
"""Pieces of text that may wait to be written."""


class Writer:
    """Writes to a text stream from a thread of its own, each piece flushed as soon as the stream takes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="moorings-output", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take ``text``; returns at once. Called from any thread."""
        with self._changed:
            if len(self._waiting) >= LIMIT:
                self._dropped += 1
            else:
                self._waiting.append(text)
                self._changed.notify()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: whatever was taken is written as soon as it can be."""

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor (its width is asked for)."""
        return self._stream.fileno()

    def close(self, *, timeout: float = 2.0) -> None:
        """Write what waits, for ``timeout`` seconds at most, and end the thread; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _work(self) -> None:
        gone = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                text = "".join(self._waiting)
                self._waiting.clear()
                if self._dropped:
                    text += f"({self._dropped} lines were dropped here: nobody read them in time)\n"
                    self._dropped = 0
                if not text:
                    return
            if gone:
                continue
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                # Whoever read the output has gone. Python flushes standard output at its end: let that succeed.
                gone = True
                with contextlib.suppress(OSError, ValueError):
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, self._stream.fileno())
                    os.close(null)
