"""What one malformed message is, and short ways to write one down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

REFUSALS = frozenset({400, 413, 431, 501})

HOST = b"Host: test.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Flaw(Enum):
    """Where the flaw sits: of a request whose body turns out bad a container may see the head, never all of it."""

    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Case:
    """One malformed message. ``refusals`` are the statuses that fit it."""

    name: str
    why: str
    data: bytes
    refusals: frozenset[int] = frozenset({400})
    flaw: Flaw = Flaw.HEAD


def bad(name: str, why: str, data: bytes, *refusals: int) -> Case:
    """A message whose head is bad."""
    return Case(name, why, data, frozenset(refusals or (400,)))


def bad_chunks(name: str, why: str, body: bytes, *refusals: int) -> Case:
    """A good head of a chunked request, and a bad body."""
    return Case(name, why, post(CHUNKED, body), frozenset(refusals or (400,)), Flaw.BODY)


def get(lines: bytes = b"", *, host: bytes = HOST, line: bytes = b"GET / HTTP/1.1") -> bytes:
    """A GET with ``line`` as its request line, ``host`` as its Host line and ``lines`` as further header lines."""
    return line + b"\r\n" + host + lines + b"\r\n"


def post(lines: bytes, body: bytes = b"") -> bytes:
    """A POST with ``lines`` as header lines after Host."""
    return b"POST / HTTP/1.1\r\n" + HOST + lines + b"\r\n" + body
