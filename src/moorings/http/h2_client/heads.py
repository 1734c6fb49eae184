"""Heads between HTTP/1 blocks, which messages are made of here, and HTTP/2 field lists (RFC 9113, 8.3).

A received head becomes the block that a strict parser would have accepted: the same grammar holds for both versions,
so that no field value can become a line of its own where the answer goes on over HTTP/1.1 (RFC 9113, 10.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from moorings.errors import UpstreamError
from moorings.http.grammar import DIGITS, FIELDS, Framing, tokens
from moorings.http.h2_client.protocol import MAX_HEAD
from moorings.http.headers import Headers, RawFields
from moorings.http.response_head import ResponseHead
from moorings.http.serialize import status_line
from moorings.http.trailers import allowed

Fields = list[tuple[bytes, bytes]]

MAX_FIELDS = 256

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"host")
)
_NEVER_RECEIVED = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


def request_fields(head: bytes) -> Fields:
    """The field list of a request, from its HTTP/1.1 head as this platform sends it."""
    line, _, block = head.partition(b"\r\n")
    method, target, _ = line.split(b" ", 2)
    authority, fields = _regular_fields(block)
    return [(b":method", method), (b":scheme", b"http"), (b":path", target), (b":authority", authority), *fields]


@lru_cache(maxsize=512)
def _regular_fields(block: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Authority and fields of a block; clients repeat theirs."""
    authority = b""
    fields: Fields = []
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            authority = value
        elif name not in _HOP_BY_HOP:
            fields.append((name, value))
        elif name == b"te" and b"trailers" in tokens(value):
            fields.append((b"te", b"trailers"))
    return authority, tuple(fields)


def trailer_fields(trailers: Headers) -> Fields:
    """The field list of trailers."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in trailers.items()]


def received_trailers(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Trailers that a server has sent. Raises UpstreamError."""
    try:
        return allowed([(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields])
    except ValueError as error:
        raise UpstreamError(f"the upstream's trailers are malformed: {error}") from None


def received_head(received: Iterable[tuple[bytes, bytes]], *, empty: bool, head_request: bool) -> ResponseHead:
    """The head of an answer; ``empty``: it ended with its head. Raises UpstreamError."""
    status = b""
    regular: Fields = []
    length: bytes | None = None
    size = 0
    for name, value in received:
        size += len(name) + len(value) + 32
        if name == b":status" and not status and not regular:
            status = value
        elif name in _NEVER_RECEIVED:
            raise UpstreamError(f"the upstream's answer has a field that HTTP/2 hasn't: {name.decode('latin-1')}")
        elif name == b"content-length":
            if DIGITS.fullmatch(value) is None or (length is not None and length != value):
                raise UpstreamError("the upstream's answer has a bad Content-Length")
            length = value
        else:
            regular.append((name, value))
    if size > MAX_HEAD:
        raise UpstreamError(f"the upstream's answer has a head of over {MAX_HEAD} bytes")
    if len(regular) > MAX_FIELDS:
        raise UpstreamError(f"the upstream's answer has more than {MAX_FIELDS} header fields")
    if len(status) != 3 or not status.isdigit() or status[0] == 48:
        raise UpstreamError("the upstream's answer has no status")
    lines = [b"\r\n"]
    lines += [b"%b: %b\r\n" % field for field in regular]
    if length is not None:
        lines.append(b"content-length: %b\r\n" % length)
    lines.append(b"\r\n")
    raw = b"".join(lines)
    if FIELDS.fullmatch(raw) is None or raw.count(b"\r\n") != len(lines):  # a value may hold what looks like a line
        raise UpstreamError("the upstream's answer is malformed")
    line = status_line(int(status))
    head = ResponseHead(line + raw[2:], int(status), RawFields(raw))
    if empty:
        if length is not None and int(length) and not head_request and not head.bodyless:
            raise UpstreamError("the upstream's answer is shorter than its Content-Length")
        head.length = 0
        head.forward = head.data if length is not None or head.bodyless or head_request else _with(head, b"0")
    elif length is not None:
        head.length = int(length)
        head.forward = head.data
    else:
        head.length = Framing.CHUNKED
        head.forward = head.data if head.bodyless else head.data[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    return head


def _with(head: ResponseHead, length: bytes) -> bytes:
    return head.data[:-2] + b"Content-Length: %b\r\n\r\n" % length
