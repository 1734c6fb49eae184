"""Shows a container's output as it comes, as far as the platform can follow.

The log is read over a connection of its own. A container that prints faster than ``LINES`` or ``BYTES`` a second is
read no further until the second is over: one line in brackets says so, and showing goes on with what is newest. How
many lines are left out is not known, because nobody reads them; the Engine's log has them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from moorings.clock import Clock
from moorings.runtimes.base import Stream
from moorings.runtimes.docker.ends import unix_time
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.reading import Stamped, stamped_lines

LINES = 5000
BYTES = 1024 * 1024
NEWEST = 20  # lines that are shown after others were left out
TOO_FAST = "[lines came too fast to be shown; they are in the log]"

Show = Callable[[Stream, str], None]


class Follower:
    """Follows one container's log. ``last`` is the time of the last line shown, as the Engine wrote it."""

    __slots__ = ("_clock", "_container", "_is_behind", "_known", "_show", "_tail", "last")

    def __init__(self, container: str, show: Show, clock: Clock, *, from_now: bool) -> None:
        self._container = container
        self._show = show
        self._clock = clock
        self._tail = "0" if from_now else "all"
        self._known = ""  # lines up to here were shown over another connection
        self._is_behind = False
        self.last = ""

    async def run(self, engine: Engine) -> None:
        """Show lines until the container ends, or the Engine goes. May be called again with another Engine."""
        while await self._read(engine):
            pass

    async def finish(self, engine: Engine) -> None:
        """Show what is left of a container that has ended, when ``run`` doesn't run any more.

        The Engine doesn't always end a followed log that was opened while the container ended.
        """
        self._known = self.last
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": str(NEWEST if self._is_behind else LINES)}
        if self.last:
            params["since"] = _since(self.last)
        with contextlib.suppress(Refused, Unreachable):
            async with engine.stream(f"containers/{self._container}/logs", **params) as stream:
                async for arrived in stamped_lines(stream):
                    for each in arrived:
                        self._deliver(each)

    async def _read(self, engine: Engine) -> bool:
        """Returns whether lines came too fast, so that more are to be read."""
        window, lines, size = self._clock.monotonic(), 0, 0
        params = {"follow": "1", "stdout": "1", "stderr": "1", "timestamps": "1", "tail": self._tail}
        self._known = self.last
        self._is_behind = False
        if self.last:
            params["since"] = _since(self.last)
            if self._tail == "0":
                params["tail"] = "all"
        try:
            async with engine.stream(f"containers/{self._container}/logs", **params) as stream:
                async for arrived in stamped_lines(stream):
                    now = self._clock.monotonic()
                    if now - window >= 1.0:
                        window, lines, size = now, 0, 0
                    for each in arrived:
                        if self._deliver(each):
                            lines += 1
                            size += len(each.line)
                    if lines > LINES or size > BYTES:
                        break
                else:
                    return False
        except (Refused, Unreachable):
            return False
        self._is_behind = True
        self._show("stderr", TOO_FAST)
        self._tail = str(NEWEST)
        await self._clock.sleep(max(0.0, window + 1.0 - self._clock.monotonic()))
        return True

    def _deliver(self, each: Stamped) -> bool:
        if each.stamp <= self._known:
            return False
        self.last = each.stamp
        self._show(each.stream, each.line)
        return True


def _since(stamp: str) -> str:
    """A time of a line as the Engine wants to be asked for it: Unix seconds, with nanoseconds."""
    fraction = stamp.rpartition(".")[2].rstrip("Z") if "." in stamp else "0"
    return f"{int(unix_time(stamp))}.{fraction:0<9}"
