"""Tells when code blocks the event loop: a thread watches the loop's heartbeat and shows the stack that holds it up."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

from moorings.observer import Notice, Observer

BLOCKED_AFTER = 0.1
"""Seconds without a turn of the loop after which the code that runs is reported."""


class Watchdog:
    """Reports each time the loop stands still for over 100 ms, once a standstill, with the stack of its thread."""

    def __init__(self, observer: Observer, folder: Path) -> None:
        """``folder`` holds the user's code: a loop held up by nothing of it waits, or the machine is busy elsewhere."""
        self._observer = observer
        self._folder = f"{folder}/"
        self._beat = time.monotonic()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch the running loop."""
        loop = asyncio.get_running_loop()
        self._tick(loop)
        self._thread = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="moorings-watchdog", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; idempotent."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _is_users(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(self._folder)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat = time.monotonic()
        self._timer = loop.call_later(BLOCKED_AFTER / 2, self._tick, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        reported = 0.0
        while not self._stopped.wait(BLOCKED_AFTER / 2):
            beat = self._beat
            late = time.monotonic() - beat - BLOCKED_AFTER / 2
            if late < BLOCKED_AFTER or beat == reported:
                continue
            frame = sys._current_frames().get(thread)
            if frame is None or not any(self._is_users(each) for each, _ in traceback.walk_stack(frame)):
                continue
            stack = traceback.extract_stack(frame)
            users = [number for number, entry in enumerate(stack) if entry.filename.startswith(self._folder)]
            if not users:
                continue
            reported = beat
            message = f"a handler blocks the event loop (for {late * 1000:.0f} ms so far): every other request waits"
            lines = traceback.format_list(stack[users[0] :])
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._observer.notify, Notice("warning", message, "".join(lines)))
