"""How the end of a body is found: by its length, by chunks, or by the end of the connection (RFC 9112, 6 and 7).

A reader takes what arrived and gives data to a BodyStream. ``take`` returns None while the body goes on, else the bytes
after it. The chunk parser accepts exactly the grammar: CRLF only, hexadecimal sizes, bounded extensions and trailers.
"""

from __future__ import annotations

import re
from typing import Protocol

from moorings.errors import BadRequest, ContentTooLarge, HeaderFieldsTooLarge
from moorings.http.body import BodyStream
from moorings.http.headers import RawFields
from moorings.http.trailers import allowed

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb'|"[\t !#-\[\]-~\x80-\xff]*+"))?+'
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*+\r\n")
_TRAILERS = re.compile(rb"(?:" + _TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n")
_CHUNK_LINE = 4096  # bytes of one chunk line
_EXTENSIONS = 16 * 1024  # bytes of all chunk lines beyond their sizes


class BodyReader(Protocol):
    """Finds the end of one body."""

    remaining: int  # bytes still to come, -1 where unknown

    def take(self, data: bytes, stream: BodyStream) -> bytes | None:
        """Take what arrived; the bytes after the body once it has ended, else None."""


class FixedReader:
    """A body of known length."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    def take(self, data: bytes, stream: BodyStream) -> bytes | None:
        left = self.remaining - len(data)
        if left > 0:
            self.remaining = left
            stream.feed(data)
            return None
        rest = b""
        if left < 0:
            data, rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        if data:
            stream.feed(data)
        stream.finish()
        return rest


class EofReader:
    """A body that lasts until the connection ends (RFC 9112, 6.3, rule 8)."""

    __slots__ = ("remaining",)

    def __init__(self) -> None:
        self.remaining = -1

    def take(self, data: bytes, stream: BodyStream) -> bytes | None:
        if data:
            stream.feed(data)
        return None


class ChunkedReader:
    """The chunked transfer coding; ``limit`` bounds the data.

    Raises BadRequest, HeaderFieldsTooLarge, ContentTooLarge.
    """

    __slots__ = ("_extra", "_left", "_limit", "_partial", "_size", "_trailers", "max_trailers", "remaining")

    def __init__(self, *, limit: int | None = None, max_trailers: int = 128) -> None:
        self.remaining = -1
        self._left = 0  # of the current chunk, its CRLF included; 0 where a chunk line is next
        self._partial = b""
        self._trailers = False
        self._size = 0
        self._extra = 0
        self._limit = limit
        self.max_trailers = max_trailers

    def take(self, data: bytes, stream: BodyStream) -> bytes | None:
        if self._partial:
            data = self._partial + data
            self._partial = b""
        at, end = 0, len(data)
        while at < end:
            if self._trailers:
                return self._take_trailers(data[at:], stream)
            left = self._left
            if left > 2:
                stop = min(at + left - 2, end)
                stream.feed(data if at == 0 and stop == end else data[at:stop])
                self._left = left - (stop - at)
                at = stop
            elif left:
                if data[at : at + left] != b"\r\n"[2 - left :][: end - at]:
                    raise BadRequest("a chunk of the body doesn't end where its size says")
                step = min(left, end - at)
                self._left = left - step
                at += step
            else:
                at = self._take_line(data, at)
                if at < 0:
                    return None
        return None

    def _take_line(self, data: bytes, at: int) -> int:
        match = _CHUNK.match(data, at)
        if match is None:
            line = data[at : at + _CHUNK_LINE + 2]
            if b"\n" in line or len(line) > _CHUNK_LINE or not _line_so_far(line):
                raise BadRequest("a chunk of the body has a malformed size line")
            self._partial = line
            return -1
        digits = match[1]
        self._extra += match.end() - at - len(digits) - 2
        if match.end() - at > _CHUNK_LINE or self._extra > _EXTENSIONS:
            raise BadRequest("the body has too many chunk extensions")
        size = int(digits, 16)
        self._size += size
        if self._limit is not None and self._size > self._limit:
            raise ContentTooLarge(f"the body is over {self._limit} bytes")
        if size:
            self._left = size + 2
        else:
            self._trailers = True
        return match.end()

    def _take_trailers(self, data: bytes, stream: BodyStream) -> bytes | None:
        if data.startswith(b"\r\n"):
            stream.finish()
            return data[2:]
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) > _EXTENSIONS:
                raise HeaderFieldsTooLarge("the trailer section is too large")
            if re.search(rb"(?<!\r)\n|\r[^\n]|\x00", data) is not None:
                raise BadRequest("the trailer section is malformed")
            self._partial = data
            return None
        if end > _EXTENSIONS or data.count(b"\r\n", 0, end) - 1 > self.max_trailers:
            raise HeaderFieldsTooLarge("the trailer section is too large")
        if _TRAILERS.fullmatch(data, 0, end) is None:
            raise BadRequest("the trailer section is malformed")
        fields = RawFields(b"\r\n" + data[:end]).pairs()
        stream.finish(allowed(fields))
        return data[end:]


_SO_FAR = re.compile(rb"[0-9A-Fa-f]{1,16}(?:\r|[ \t]*+(?:;[^\x00-\x08\x0a-\x1f\x7f]*+\r?)?)?")


def _line_so_far(line: bytes) -> bool:
    """Whether an unfinished chunk line may still become a good one."""
    return _SO_FAR.fullmatch(line) is not None
