"""Response heads from an upstream: the same guards as for requests, because an upstream can split a proxy as well.

Any ambiguity is an UpstreamError. A head that an upstream repeats byte for byte on a connection is recognised by
comparing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import httptools

from moorings.errors import UpstreamError
from moorings.http.grammar import DIGITS, DROPPED_FROM_RESPONSES, Framing, clean, special, tokens, without_hop_by_hop
from moorings.http.headers import RawFields

_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")


class _Witness:
    """Sees whether llhttp thinks a head complete."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


class ResponseHead:
    """A validated response head.

    ``length`` is the body's, or a Framing; ``data`` are the head's bytes; ``reusable`` says whether the upstream keeps
    the connection open; ``bodyless`` that the status has no body whatever the fields say (RFC 9112, 6.3).
    """

    __slots__ = ("bodyless", "connection", "data", "fields", "forward", "length", "reusable", "size", "status", "whole")

    def __init__(self, data: bytes, status: int, fields: RawFields) -> None:
        self.data = data
        self.size = len(data)
        self.status = status
        self.fields = fields
        self.length: int = Framing.UNTIL_CLOSE
        self.connection: bytes | None = None
        self.reusable = True
        self.bodyless = status < 200 or status in (204, 304)
        self.whole = -1  # bytes of the whole message, where its length is known and the connection stays open after it
        self.forward: bytes = b""  # what is sent on in its place to an HTTP/1.1 client whose connection is kept


def response_head(data: bytes, max_headers: int) -> ResponseHead:
    """Check a complete head (to its empty line). Raises UpstreamError."""
    match = _LINE.match(data)
    lines = data.count(b"\r\n")
    if match is None or not clean(data, lines):
        raise UpstreamError("the upstream's answer is not HTTP/1.1")
    eol = match.end() - 2
    raw = data[eol:]
    if lines - 2 > max_headers:
        raise UpstreamError(f"the upstream's answer has more than {max_headers} header fields")
    fields = RawFields(raw)
    fields._low = low = raw.lower()
    head = ResponseHead(data, int(match[2]), fields)
    minor = 1 if match[1] == b"1" else 0
    hops = _interpret(head, special(low), minor)
    _second_opinion(data)
    if head.reusable and not head.bodyless and head.length >= 0:
        head.whole = head.size + head.length
    line = b"HTTP/1.1" + data[8:eol]
    if hops:
        raw = without_hop_by_hop(raw, hops, head.connection)
    if head.length < 0 and not head.bodyless:
        raw = raw[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
    head.forward = data if not hops and minor == 1 and head.length >= 0 else line + raw
    return head


def _interpret(head: ResponseHead, found: Iterator[re.Match[bytes]], minor: int) -> list[tuple[int, int]]:
    """Fill in the framing; returns where the fields are that are meant for this connection only."""
    length: int | None = None
    coding: bytes | None = None
    hops = []
    for match in found:
        name, value = match.groups()
        if name in DROPPED_FROM_RESPONSES:
            hops.append(match.span())
        value = value.rstrip(b" \t")
        if name == b"content-length":
            if length is not None or DIGITS.fullmatch(value) is None:
                raise UpstreamError("the upstream's answer has a bad Content-Length")
            length = int(value)
        elif name == b"transfer-encoding":
            coding = value if coding is None else coding + b"," + value
        elif name == b"connection":
            head.connection = value if head.connection is None else head.connection + b"," + value
    if coding is not None:
        if length is not None or minor == 0 or coding != b"chunked":
            raise UpstreamError("the upstream's answer has an ambiguous or unknown Transfer-Encoding")
        head.length = Framing.CHUNKED
    elif length is not None:
        head.length = length
    options = tokens(head.connection)
    head.reusable = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    if head.length == Framing.UNTIL_CLOSE and not head.bodyless:
        head.reusable = False
    return hops


def _second_opinion(data: bytes) -> None:
    witness = _Witness()
    try:
        httptools.HttpResponseParser(witness).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise UpstreamError(f"the upstream's answer is malformed: {error}") from None
    if not witness.complete:
        raise UpstreamError("the upstream's answer is malformed")


def with_connection(head: bytes, value: bytes) -> bytes:
    """A head without Connection field, with one."""
    return head[:-2] + b"Connection: " + value + b"\r\n\r\n"


def without_chunked(head: bytes) -> bytes:
    """A head made by this module without the Transfer-Encoding that it put at the end."""
    return head.removesuffix(b"Transfer-Encoding: chunked\r\n\r\n") + b"\r\n"
