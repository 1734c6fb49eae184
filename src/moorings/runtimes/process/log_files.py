"""Reads the log files that ``output`` writes: where the lines of one incarnation begin, and the lines from there on.

The files hold all incarnations of an object; a note of the supervisor's own begins each. A reader keeps the file it is
in open, so rotation (a rename) never moves it, and finds the next one by its place after that file. Everything here
blocks on the disk: callers use a thread.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from moorings.runtimes.base import LogLine, Stream

_CHUNK: Final = 64 * 1024
_STARTED: Final = re.compile(rb"\S+ moorings F started as process \d+, token (.*)", re.DOTALL)
_NOTE: Final = b" moorings "
_TIME: Final = 27  # bytes of 2026-01-02T03:04:05.678901Z


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: those of the incarnation ``token`` (None: the last one), the last ``tail``, from ``since`` on."""

    token: str | None = None
    tail: int | None = None
    since: float | None = None


class LogReader:
    """One reading of an object's logs: first the lines that there are, then those that come. ``close`` it."""

    def __init__(self, folder: str, wanted: Wanted) -> None:
        self._path = os.path.join(folder, "current.log")
        self._wanted = wanted
        self._files: list[int] = []  # still to be read, the oldest first
        self._rest = b""
        self._has_begun = False
        self._awaits_start = False  # no incarnation has been seen: the first one is meant
        self._is_over = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the files, once they aren't being read. Idempotent."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._is_over = True
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()

    def read(self) -> list[LogLine] | None:
        """The next lines, as many as come in one piece. None are there yet: []. None will come: None.

        The latter where another incarnation has begun, and where the one that is meant is not in the files.
        """
        with self._lock:
            return None if self._is_over else self._read()

    def _read(self) -> list[LogLine] | None:
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        while not self._is_over:
            data = os.read(self._files[0], _CHUNK) if self._files else b""
            if data:
                lines = self._cut(data)
                if lines:
                    return lines
            elif len(self._files) > 1:
                os.close(self._files.pop(0))
                self._rest = b""
            elif not self._open_later():
                return []
        return None

    # --- where to begin -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._files = self._open_all()
        if not self._files:
            self._awaits_start = True
            return
        beginning = self._beginning()
        if beginning is None:
            self._close()
            return
        index, offset = beginning
        for descriptor in self._files[:index]:
            os.close(descriptor)
        del self._files[:index]
        os.lseek(self._files[0], offset, os.SEEK_SET)

    def _beginning(self) -> tuple[int, int] | None:
        """The first line that is wanted, as the index of a file and an offset; None where the incarnation is gone."""
        token = None if self._wanted.token is None else self._wanted.token.encode()
        seen = 0
        cut: tuple[int, int] | None = None  # where the wanted lines of the incarnation that is being scanned begin
        for index, offset, line in self._backwards():
            after = (index, offset + len(line) + 1)
            if line[_TIME:].startswith(_NOTE):
                started = _STARTED.fullmatch(line)
                if started is None:
                    continue
                if token is None or started[1] == token:
                    return cut or after
                seen, cut = 0, None
            elif cut is None:
                if seen == self._wanted.tail or self._is_old(line):
                    cut = after
                    if token is None:
                        return cut
                seen += 1
        return (0, 0) if token is None else None

    def _is_old(self, line: bytes) -> bool:
        since = self._wanted.since
        if since is None:
            return False
        parsed = _parsed(line)
        return parsed is not None and parsed.at < since

    def _backwards(self) -> Iterator[tuple[int, int, bytes]]:
        """All complete lines, the last one first: the file's index, the line's offset, the line without its end."""
        for index in reversed(range(len(self._files))):
            descriptor = self._files[index]
            position = os.fstat(descriptor).st_size
            carry: bytes | None = None  # what is known of a line that begins further in front
            while position > 0:
                size = min(_CHUNK, position)
                position -= size
                data = os.pread(descriptor, size, position)
                if carry is None:  # what follows the last line end is no line yet
                    data = data[: data.rfind(b"\n") + 1]
                    if not data:
                        continue
                    carry = b""
                data += carry
                begin = data.find(b"\n") + 1 if position else 0
                carry = data[:begin]
                end = position + len(data)
                for line in reversed(data[begin:-1].split(b"\n")) if begin < len(data) else ():
                    end -= len(line) + 1
                    yield index, end, line

    # --- files --------------------------------------------------------------------------------------------------------

    def _open_all(self) -> list[int]:
        """The files that there are, the oldest first."""
        found: list[int] = []
        seen: set[int] = set()
        for path in self._paths():
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                inode = os.fstat(descriptor).st_ino
                if inode in seen:  # it was rotated between two looks
                    os.close(descriptor)
                    continue
                seen.add(inode)
                found.append(descriptor)
        return found[::-1]

    def _paths(self) -> Iterator[str]:
        """The newest first."""
        yield self._path
        number = 1
        while os.path.exists(path := f"{self._path}.{number}"):
            yield path
            number += 1

    def _open_later(self) -> bool:
        """Open the files that came after the one that is being read; whether there are any."""
        current = os.fstat(self._files[0]).st_ino if self._files else 0
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == current:
                return False
        later = self._open_all()
        if self._files:
            inodes = [os.fstat(descriptor).st_ino for descriptor in later]
            known = inodes.index(current) + 1 if current in inodes else 0  # 0: it was rotated out, and others with it
            for descriptor in later[:known]:
                os.close(descriptor)
            later = later[known:]
        self._files += later
        return bool(later)

    # --- lines --------------------------------------------------------------------------------------------------------

    def _cut(self, data: bytes) -> list[LogLine]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            if line[_TIME:].startswith(_NOTE):
                if _STARTED.fullmatch(line) is not None:
                    if not self._awaits_start:
                        self._close()
                        break
                    self._awaits_start = False
                continue
            parsed = _parsed(line)
            if parsed is not None and (self._wanted.since is None or parsed.at >= self._wanted.since):
                found.append(parsed)
        return found


def _parsed(line: bytes) -> LogLine | None:
    """A line of a file; None for what a full disk or a power cut has left of one."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    try:
        at = datetime.fromisoformat(parts[0].decode("ascii")).timestamp()
    except ValueError:
        return None
    return LogLine(at, cast(Stream, parts[1].decode("ascii")), parts[3].decode("utf-8", "replace"))
