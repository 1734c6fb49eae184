"""The grammar of heads, for both directions: what is allowed byte for byte, and which fields the platform must know.

A head is checked three times, each in C and each over the whole of it: no control byte, bare CR or bare LF (``clean``);
the fields that frame or route a message picked out by one pattern (``special``); and llhttp in its strict mode as a
second opinion on lines, names and values. A head passes only if all agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum

_ALLOWED = bytes(c for c in range(256) if c == 9 or (c >= 32 and c != 127))

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
FIELDS = re.compile(rb"\r\n(?:" + TOKEN + rb"++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n")
DIGITS = re.compile(rb"[0-9]{1,18}")

_SPECIAL = re.compile(
    rb"\r\n(host|content[-_]length|transfer[-_]encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|expect"
    rb"|http2-settings|x[-_]forwarded[-_](?:for|proto|host))[ \t]*:[ \t]*([^\r\n]*)"
)
# The special fields that are meant for this connection only, or that the platform writes itself.
DROPPED_FROM_RESPONSES = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade")
)
DROPPED = DROPPED_FROM_RESPONSES.union(
    (b"expect", b"http2-settings"),
    (b"x%bforwarded%b%b" % (a, b, c) for a in (b"-", b"_") for b in (b"-", b"_") for c in (b"for", b"proto", b"host")),
)

# What a Connection header may not take off a message: framing, routing, identity (RFC 9110, 7.6.1).
ESSENTIAL = frozenset(
    (
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-range",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-real-ip",
        b"forwarded",
        b"via",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"cache-control",
        b"date",
        b"origin",
        b"location",
        b"range",
        b"vary",
        b"etag",
        b"te",
        b"trailer",
    )
)

_USUAL = (None, b"close", b"keep-alive")  # Connection fields that name no field


class Framing(IntEnum):
    """How a body ends, where it isn't a length."""

    CHUNKED = -1
    UNTIL_CLOSE = -2


def clean(raw: bytes, lines: int) -> bool:
    """Whether there is no control byte but TAB, and no CR or LF outside the CRLFs, of which there are ``lines``."""
    return len(raw.translate(None, _ALLOWED)) == 2 * lines


def special(low: bytes) -> Iterator[re.Match[bytes]]:
    """The fields the platform must know, of a head in lower case; groups are name and value."""
    return _SPECIAL.finditer(low)


def without_hop_by_hop(raw: bytes, spans: list[tuple[int, int]], connection: bytes | None) -> bytes:
    """A field block without ``spans`` and without the fields that Connection names (RFC 9110, 7.6.1)."""
    parts = []
    at = 0
    for start, end in spans:
        parts.append(raw[at:start])
        at = end
    parts.append(raw[at:])
    raw = b"".join(parts)
    if connection in _USUAL:
        return raw
    for name in tokens(connection):
        if name not in ESSENTIAL and re.fullmatch(TOKEN + rb"+", name) is not None:
            raw = re.sub(rb"\r\n" + re.escape(name) + rb":[^\r\n]*", b"", raw, flags=re.IGNORECASE)
    return raw


def tokens(value: bytes | None) -> list[bytes]:
    """The members of a comma-separated list, in lower case."""
    if not value:
        return []
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]
