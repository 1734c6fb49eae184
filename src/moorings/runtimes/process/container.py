"""One incarnation as the supervisor holds it: its process, its two pipes, what it printed, and its way out.

A container *runs* until its main process ends, is then *leaving* (what is left of its processes is killed, its pipes
are read to their end) and has *ended* once its exit is recorded. Its pipes are read to the end before its exit is
told.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from moorings.runtimes.process.loop import READ, Loop
from moorings.runtimes.process.output import Batch, LineSplitter, Log, LogSettings, Pace, Tail
from moorings.runtimes.process.wire import Ending, Incarnation

_CHUNK = 16 * 1024  # of line ends only, it takes 2 MiB on its way to the log
_LAST_CHUNKS = 128  # what a pipe of the largest unprivileged size (1 MiB) holds, twice over

Shown = Callable[[str, str, list[bytes], int], None]
"""Receives token, stream, lines and how many lines before these were left out."""


def _nothing() -> None:
    """Nobody waits for this."""


class Pipe:
    """The reading end of stdout or stderr."""

    __slots__ = ("_container", "_loop", "descriptor", "inode", "splitter", "stream")

    def __init__(self, descriptor: int, stream: str, container: Container, loop: Loop) -> None:
        self.descriptor = descriptor
        self.stream = stream
        self.inode = f"pipe:[{os.fstat(descriptor).st_ino}]"
        self.splitter = LineSplitter()
        self._container = container
        self._loop = loop
        os.set_blocking(descriptor, False)
        loop.add(descriptor, READ, self._ready)

    @property
    def is_open(self) -> bool:
        return self.descriptor >= 0

    def _ready(self, events: int) -> None:
        self.read()
        if not self.is_open:
            self._container.on_pipe_closed()

    def read(self) -> bool:
        """Read once, up to 16 KiB: containers that print take turns. Whether there may be more."""
        try:
            data = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._container.printed(self.stream, self.splitter.feed(data))
        return True

    def read_rest(self) -> None:
        """Read what is there, but not forever: somebody may still be writing."""
        for _ in range(_LAST_CHUNKS):
            if not self.is_open or not self.read():
                return

    def close(self) -> None:
        """Stop reading; a last line without an end is a line."""
        if not self.is_open:
            return
        self._loop.remove(self.descriptor)
        os.close(self.descriptor)
        self.descriptor = -1
        self._container.printed(self.stream, self.splitter.finish())


class Container:
    """One incarnation. Its decisions are the supervisor's; here is what it consists of."""

    __slots__ = (
        "_shown",
        "ending",
        "has_ended",
        "incarnation",
        "is_discarded",
        "killed_as",
        "left_at",
        "log",
        "on_finished",
        "on_pipe_closed",
        "pace",
        "pipes",
        "surroundings",
        "tail",
    )

    def __init__(self, incarnation: Incarnation, folder: str, settings: LogSettings, *, shown: Shown) -> None:
        self.incarnation = incarnation
        self.log = Log(folder, settings)
        self.tail = Tail()
        self.pace = Pace()
        self.pipes: tuple[Pipe, ...] = ()
        self.surroundings: tuple[bytes, dict[bytes, bytes]] = (b"/", {})
        """The folder and the environment that its main process was started with."""
        self.killed_as = ""  # the reason of its end, once it was killed by us
        self.is_discarded = False
        self.has_ended = False  # all is read and recorded
        self.ending: Ending | None = None  # known when its main process has ended
        self.left_at = 0.0  # when its main process ended, in monotonic seconds
        self.on_finished: Callable[[], None] = _nothing
        self.on_pipe_closed: Callable[[], None] = _nothing
        self._shown = shown

    def attach(self, out: int, err: int, loop: Loop) -> None:
        """Read its output from these descriptors, which it owns from now on."""
        self.pipes = (Pipe(out, "stdout", self, loop), Pipe(err, "stderr", self, loop))

    @property
    def has_open_pipes(self) -> bool:
        return any(pipe.is_open for pipe in self.pipes)

    def printed(self, stream: str, batches: list[Batch]) -> None:
        """Lines came: into the log, the tail, and before the platform's eyes if it can follow."""
        if not batches:
            return
        self.log.write(stream.encode(), batches)
        for batch in batches:
            self.tail.add(batch.lines)
            if self.pace.admits(batch.lines):
                self._shown(self.incarnation.token, stream, batch.lines, self.pace.skipped)
                self.pace.skipped = 0

    def note(self, text: str) -> None:
        """A line of the platform's own in the log."""
        self.log.write(b"moorings", [Batch(b"F", [text.encode("utf-8", "replace")])])

    def close(self) -> None:
        """Read nothing more; say how many lines were left out at the end."""
        for pipe in self.pipes:
            pipe.close()
        if self.pace.skipped:
            self._shown(self.incarnation.token, "stdout", [], self.pace.skipped)
            self.pace.skipped = 0
        self.on_pipe_closed = _nothing
