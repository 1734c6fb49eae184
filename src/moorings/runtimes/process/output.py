"""What a container prints, as lines: cut, remembered for ``tail``, written to rotated files, shown if there is time.

Invariants: memory per container is bounded whatever it prints (a partial line of 16 KiB per stream, a tail of 200
lines and 32 KiB); nothing here blocks on the platform; a log that can't be written (disk full) loses lines, never a
container. Log lines are ``<RFC 3339 time> <stream> <F|P> <text>``, as Kubernetes' CRI writes them: P marks a piece of
a line that goes on.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import NamedTuple

LONGEST_LINE = 16 * 1024
TAIL_LINES = 200
TAIL_BYTES = 32 * 1024


class Batch(NamedTuple):
    """Lines of one stream; ``tag`` is F for whole lines (or a line's last piece), P for a piece that goes on."""

    tag: bytes
    lines: list[bytes]


class LineSplitter:
    """Cuts a stream into lines without their ends, and lines over 16 KiB into pieces (between characters of UTF-8)."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Batch]:
        """The lines that are now complete."""
        data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if b"\r\n" in data:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if len(self._rest) <= LONGEST_LINE and (not lines or len(max(lines, key=len)) <= LONGEST_LINE):
            return [Batch(b"F", lines)] if lines else []
        batches = []
        for line in lines:
            *pieces, last = _pieces(line)
            if pieces:
                batches.append(Batch(b"P", pieces))
            batches.append(Batch(b"F", [last]))
        *pieces, self._rest = _pieces(self._rest)
        if pieces:
            batches.append(Batch(b"P", pieces))
        return batches

    def finish(self) -> list[Batch]:
        """The last line, where it had no end."""
        rest, self._rest = self._rest, b""
        return [Batch(b"F", [rest])] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    pieces = []
    while len(line) > LONGEST_LINE:
        cut = LONGEST_LINE
        while cut > LONGEST_LINE - 4 and line[cut] & 0xC0 == 0x80:  # inside a character
            cut -= 1
        if line[cut] & 0xC0 == 0x80:  # no UTF-8 anyway
            cut = LONGEST_LINE
        pieces.append(line[:cut])
        line = line[cut:]
    pieces.append(line)
    return pieces


class Tail:
    """The last lines of one incarnation, both streams in the order in which they arrived."""

    __slots__ = ("_bytes", "_lines")

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0

    def add(self, lines: list[bytes]) -> None:
        """Remember ``lines``, and let go of the oldest."""
        for line in lines[-TAIL_LINES:]:
            self._lines.append(line)
            self._bytes += len(line)
        while len(self._lines) > TAIL_LINES or self._bytes > TAIL_BYTES:
            self._bytes -= len(self._lines.popleft())

    def last(self, count: int) -> list[bytes]:
        """The last ``count`` lines at most, oldest first."""
        lines = list(self._lines)
        return lines[-count:] if count > 0 else []


class LogSettings:
    """How much is kept per object: ``files`` files of at most ``size`` bytes.

    Shared by all logs, and settable at any time.
    """

    __slots__ = ("files", "size")

    def __init__(self, size: int = 10 * 1024 * 1024, files: int = 3) -> None:
        self.size = size
        self.files = files


class Log:
    """The rotated log files of one object: ``current.log``, then ``current.log.1``, ... with the oldest last.

    A file is opened for each write: a write is up to 16 KiB of output, and thousands of quiet containers keep nothing
    open.
    """

    __slots__ = ("_folder", "_settings", "lost")

    def __init__(self, folder: str, settings: LogSettings) -> None:
        self._folder = folder
        self._settings = settings
        self.lost = 0

    @property
    def _path(self) -> str:
        return os.path.join(self._folder, "current.log")

    def moved(self, folder: str) -> Log:
        """The log of another folder, which from now on has what this one's had, behind what it had itself."""
        other = Log(folder, self._settings)
        other.lost = self.lost
        try:
            os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
            os.rename(self._folder, folder)
        except FileNotFoundError:
            return other  # nothing was written
        except OSError:
            self._append_to(other)
        return other

    def _append_to(self, other: Log) -> None:
        try:
            with open(self._path, "rb") as file:
                text = file.read()
            if text:
                other._append(text)
            self.remove()
        except OSError:
            other.lost += 1

    def remove(self) -> None:
        """Delete all that was written. Never raises."""
        try:
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))
            os.rmdir(self._folder)
        except OSError:
            return

    def write(self, stream: bytes, batches: list[Batch]) -> None:
        """Append lines. What can't be written is counted in ``lost`` and dropped."""
        prefix = _timestamp(time.time()) + b" " + stream + b" "
        text = b"".join(_text(prefix + batch.tag + b" ", batch.lines) for batch in batches)
        try:
            self._append(text)
        except OSError:
            self.lost += text.count(b"\n")

    def _append(self, text: bytes) -> None:
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            while text:
                room = self._settings.size - size
                cut = len(text) if len(text) <= room else text.rfind(b"\n", 0, max(room, 0)) + 1
                if cut == 0:
                    if size:
                        os.close(descriptor)
                        descriptor = -1
                        self._rotate()
                        descriptor = self._open()
                        size = 0
                        continue
                    cut = text.index(b"\n") + 1
                written = os.write(descriptor, text[:cut])
                size += written
                text = text[written:]
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def _rotate(self) -> None:
        path = self._path
        if self._settings.files <= 1:
            os.unlink(path)
            return
        for number in range(self._settings.files - 1, 1, -1):
            if os.path.exists(f"{path}.{number - 1}"):
                os.replace(f"{path}.{number - 1}", f"{path}.{number}")
        os.replace(path, f"{path}.1")


def _text(prefix: bytes, lines: list[bytes]) -> bytes:
    return prefix + (b"\n" + prefix).join(lines) + b"\n"


def _timestamp(now: float) -> bytes:
    """RFC 3339, in UTC, with microseconds."""
    seconds = int(now)
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}"
        f"T{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}.{int((now - seconds) * 1e6):06}Z"
    ).encode()


class Pace:
    """How much of a container's output is shown live: a burst of 1 MiB, then 256 KiB a second.

    Each line counts 64 bytes extra. The platform shows output line by line on its event loop, and a container that
    prints without end must not take that loop.
    """

    __slots__ = ("_at", "_room", "skipped")

    BURST = 1024 * 1024
    RATE = 256 * 1024

    def __init__(self) -> None:
        self._room = float(self.BURST)
        self._at = time.monotonic()
        self.skipped = 0

    def admits(self, lines: list[bytes]) -> bool:
        """Whether these lines may be shown; if not, they are counted in ``skipped``."""
        now = time.monotonic()
        self._room = min(self.BURST, self._room + (now - self._at) * self.RATE)
        self._at = now
        cost = sum(map(len, lines)) + 64 * len(lines)
        if cost > self._room:
            self.skipped += len(lines)
            return False
        self._room -= cost
        return True
