"""Bodies over the limit that both proxies are given: ``MAX_BODY`` bytes."""

from __future__ import annotations

from tests.integration.malformed.case import CHUNKED, LAST_CHUNK, bad, bad_chunks, post

MAX_BODY = 1 << 20

_OVER = b"Content-Length: %d\r\n" % (MAX_BODY + 1)
_HALF = b"80000\r\n" + bytes(MAX_BODY // 2) + b"\r\n"

BODIES = (
    bad("body: length over the limit", "refused by its head (RFC 9110, 15.5.14)", post(_OVER, b"hello"), 413),
    bad("body: length far over the limit", "refused by its head", post(b"Content-Length: %d\r\n" % 10**15), 413),
    bad("body: over the limit, sent all the same", "refused by its head", post(_OVER, bytes(MAX_BODY + 1)), 413),
    bad(
        "body: over the limit, 100 expected",
        "a final status instead of 100 (RFC 9110, 10.1.1)",
        post(_OVER + b"Expect: 100-continue\r\n"),
        413,
    ),
    bad_chunks("body: one chunk over the limit", "its size line says so", b"100001\r\nhello", 413),
    bad_chunks("body: chunks over the limit", "the sum says so", b"5\r\nhello\r\nFFFFC\r\nx", 413),
    bad_chunks("body: one chunk far over the limit", "its size line says so", b"FFFFFFFFFFFF\r\nhello", 413),
)
AT_THE_LIMIT = {
    "length": post(b"Content-Length: %d\r\n" % MAX_BODY, bytes(MAX_BODY)),
    "chunked": post(CHUNKED, _HALF + _HALF + LAST_CHUNK),
}
