"""``logs`` of the process runtime: an object's log files, read in a thread, and again when its container prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from moorings.clock import Clock
from moorings.runtimes.base import Follow, LogLine
from moorings.runtimes.process.log_files import LogReader, Wanted

_LOOK: Final = 0.5  # seconds between two looks at a log that nothing is heard of: output may be too fast to be shown


class Followers:
    """Those who wait for more output of an incarnation, or for its end."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def wake(self, token: str) -> None:
        """Something was printed, or it is over."""
        for grown in self._waiting.get(token, ()):
            grown.set()

    @contextmanager
    def following(self, token: str) -> Iterator[asyncio.Event]:
        """An event that is set by ``wake``."""
        grown = asyncio.Event()
        self._waiting.setdefault(token, set()).add(grown)
        try:
            yield grown
        finally:
            self._waiting[token].discard(grown)
            if not self._waiting[token]:
                del self._waiting[token]


async def read_logs(
    folder: str,
    wanted: Wanted,
    follow: Follow,
    *,
    token: str,
    runs: Callable[[], bool],
    followers: Followers,
    clock: Clock,
) -> AsyncGenerator[LogLine, None]:
    """The lines that are wanted; with FOLLOW as long as the incarnation ``token`` ``runs``."""
    reader = LogReader(folder, wanted)
    try:
        with followers.following(token) as grown:
            while True:
                is_last = follow is Follow.NO or not runs()  # before the look, so that nothing is missed
                grown.clear()
                while lines := await asyncio.to_thread(reader.read):
                    for line in lines:
                        yield line
                if lines is None or is_last:
                    return
                timer = clock.call_later(_LOOK, grown.set)
                try:
                    await grown.wait()
                finally:
                    timer.cancel()
    finally:
        await asyncio.to_thread(reader.close)  # in a thread, because one that was cancelled may still be reading
