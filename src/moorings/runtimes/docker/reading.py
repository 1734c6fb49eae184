"""Log lines out of the Engine's stream: frames of stdout and stderr, each with a line and its time.

A frame is one byte for the stream, three of nothing, four for the length (big endian), and the content
(docs.docker.com/reference/api/engine, ContainerAttach). Containers here have no terminal, so streams are always framed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp

from moorings.runtimes.base import LogLine, Stream
from moorings.runtimes.docker.ends import unix_time

_HEAD = 8
_STDERR = 2
_LONGEST = 16 * 1024


@dataclass(frozen=True, slots=True)
class Stamped:
    """A line as it was read: ``stamp`` is its time as the Engine wrote it, which sorts as text."""

    stream: Stream
    stamp: str
    line: str

    def log_line(self) -> LogLine:
        """The line with its time in Unix seconds."""
        try:
            return LogLine(unix_time(self.stamp), self.stream, self.line)
        except ValueError:
            return LogLine(0.0, self.stream, self.line)


async def stamped_lines(stream: aiohttp.StreamReader) -> AsyncIterator[list[Stamped]]:
    """The lines of a log that was asked for with ``timestamps``, as many at once as have arrived."""
    buffer = bytearray()
    while chunk := await stream.readany():
        buffer += chunk
        lines = list(_frames(buffer))
        if lines:
            yield lines


def _frames(buffer: bytearray) -> Iterator[Stamped]:
    """Take the complete frames from ``buffer``."""
    at = 0
    while len(buffer) - at >= _HEAD:
        length = int.from_bytes(buffer[at + 4 : at + _HEAD], "big")
        if len(buffer) - at - _HEAD < length:
            break
        name: Stream = "stderr" if buffer[at] == _STDERR else "stdout"
        content = bytes(buffer[at + _HEAD : at + _HEAD + length])
        at += _HEAD + length
        for text in content.removesuffix(b"\n").split(b"\n"):
            stamp, _, line = text.partition(b" ")
            line = line.removesuffix(b"\r")
            for start in range(0, len(line), _LONGEST) or (0,):
                piece = line[start : start + _LONGEST]
                yield Stamped(name, stamp.decode("ascii", "replace"), piece.decode("utf-8", "replace"))
    del buffer[:at]


def plain_frames(buffer: bytearray) -> Iterator[tuple[Stream, bytes]]:
    """Take the complete frames of a stream that isn't a log (``exec``) from ``buffer``."""
    at = 0
    while len(buffer) - at >= _HEAD:
        length = int.from_bytes(buffer[at + 4 : at + _HEAD], "big")
        if len(buffer) - at - _HEAD < length:
            break
        yield ("stderr" if buffer[at] == _STDERR else "stdout"), bytes(buffer[at + _HEAD : at + _HEAD + length])
        at += _HEAD + length
    del buffer[:at]
