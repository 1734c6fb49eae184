"""Fields of HTTP/2 messages: what RFC 9113 wants of them, and how they become a request of this server.

HTTP/2 carries names and values as counted bytes, so they may hold what would be syntax in HTTP/1.1. A request is
therefore checked twice before it can be forwarded: here, strictly by RFC 9113, 8.2 and 8.3, each part on its own; then
the field block that is made of it passes the very guards that a head off the wire passes (``request_fields``).

What breaks RFC 9113 is Malformed: its stream is reset, nobody answers it. What is well formed and refused raises the
errors that HTTP/1.1 raises, and is answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moorings.errors import HeaderFieldsTooLarge, NotImplementedByServer
from moorings.http.grammar import ESSENTIAL, Framing, clean, tokens
from moorings.http.headers import Headers
from moorings.http.request_head import METHODS, RequestFields, good_authority, request_fields
from moorings.http.response import Response
from moorings.http.trailers import allowed

Fields = Sequence[tuple[bytes, bytes]]

_NAMES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]++\x00)*+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_PATH = re.compile(rb"/[!\x22$-~]*|\*")
_PADDED = re.compile(rb"^[ \t]|[ \t]$")
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_CONNECTION_SPECIFIC = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_REMEMBERED = 8  # field blocks per connection
_REMEMBERED_SIZE = 8 * 1024  # bytes of each


class Malformed(Exception):
    """A message that is no HTTP message (RFC 9113, 8.1.1)."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head: method, target in origin form (or ``*``), and the fields as they are sent on."""

    method: str
    target: bytes
    fields: RequestFields


class RequestHeads:
    """Makes heads of the requests of one connection; clients repeat their fields, so a few blocks are remembered."""

    __slots__ = ("_last", "_max_head", "_max_headers", "_memo")

    def __init__(self, *, max_head: int, max_headers: int) -> None:
        self._max_head = max_head
        self._max_headers = max_headers
        self._memo: dict[tuple[object, ...], RequestFields] = {}
        self._last: RequestFields | None = None

    def head(self, received: Fields, *, ended: bool) -> Head:
        """The head of a request; ``ended`` says that nothing follows it.

        Raises Malformed, and of the error tree: BadRequest, HeaderFieldsTooLarge, ExpectationFailed,
        NotImplementedByServer.
        """
        pseudo: dict[bytes, bytes] = {}
        regular = received
        for at, (name, value) in enumerate(received):
            if name[:1] != b":":
                regular = received[at:]
                break
            if name in pseudo or name not in _PSEUDO:
                raise Malformed("a pseudo-header field is unknown or given twice")
            pseudo[name] = value
        else:
            regular = ()
        raw_method = pseudo.get(b":method", b"")
        if raw_method == b"CONNECT":
            raise NotImplementedByServer("this server is no forward proxy: CONNECT is refused")
        path = pseudo.get(b":path", b"")
        if _METHOD.fullmatch(raw_method) is None or _PATH.fullmatch(path) is None:
            raise Malformed("method or path is missing or malformed")
        if pseudo.get(b":scheme") not in (b"http", b"https"):
            raise Malformed("the scheme is missing or unknown")
        if path == b"*" and raw_method != b"OPTIONS":
            raise Malformed("the target * is for OPTIONS only")
        key = (pseudo.get(b":authority"), ended, *regular)
        fields = self._memo.get(key)
        if fields is None:
            fields = self._fields(pseudo.get(b":authority"), regular, ended=ended)
            if len(fields.raw) <= _REMEMBERED_SIZE:
                if len(self._memo) >= _REMEMBERED:
                    self._memo.clear()
                self._memo[key] = fields
        if len(fields.raw) + len(path) > self._max_head:
            raise HeaderFieldsTooLarge("the request head is too large")
        method = METHODS.get(raw_method)
        if method is None:
            raise NotImplementedByServer("this method is not known here")
        return Head(method, path, fields)

    def _fields(self, authority: bytes | None, regular: Fields, *, ended: bool) -> RequestFields:
        check_fields(regular)
        host: bytes | None = authority
        length: bytes | None = None
        crumbs = []
        lines = []
        for name, value in regular:
            if name == b"cookie":
                crumbs.append(value)
                continue
            if name == b"host":
                if host is not None and host.lower() != value.lower():
                    raise Malformed("the authority is given twice, and not the same")
                host = value
                continue
            if name in _CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
                raise Malformed("a field belongs to a connection (RFC 9113, 8.2.2)")
            if name == b"content-length":
                if length is not None or not value.isdigit() or (ended and int(value[:19]) != 0):
                    raise Malformed("the content length is given twice, or wrong")
                length = value
            lines.append(b"%b: %b\r\n" % (name, value))
        if host is None or not good_authority(host):
            raise Malformed("the authority is missing or malformed")
        if crumbs:
            lines.append(b"cookie: %b\r\n" % b"; ".join(crumbs))
        head = b"GET / HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (host, b"".join(lines))
        if len(head) > self._max_head:
            raise HeaderFieldsTooLarge("the request head is too large")
        if not clean(head, len(lines) + 3):
            raise Malformed("a field has a control byte")
        fields = request_fields(head, 14, 1, self._max_headers, self._last)
        if length is None and not ended:
            fields.length = Framing.CHUNKED
        self._last = fields
        return fields


def check_fields(fields: Fields) -> None:
    """Raise Malformed for a name or value that RFC 9113, 8.2.1 forbids."""
    names = b"".join([name + b"\x00" for name, _ in fields])
    if _NAMES.fullmatch(names) is None or names.count(b"\x00") != len(fields):
        raise Malformed("a field name is not a token in lower case, or a pseudo-header field follows a field")
    for _, value in fields:
        if not value.isalnum() and (_PADDED.search(value) is not None or not clean(value, 0)):
            raise Malformed("a field value has a control byte, or blanks around it")


def trailers_of(received: Fields) -> Headers:
    """The trailers of a request. Raises Malformed."""
    check_fields(received)
    for name, _ in received:
        if name in _CONNECTION_SPECIFIC:
            raise Malformed("a field belongs to a connection (RFC 9113, 8.2.2)")
    return allowed((name.decode("latin-1"), value.decode("latin-1")) for name, value in received)


# --- answers

_NOT_SENT = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings")
)
_NOT_SENT_BYTES = frozenset(name.encode() for name in _NOT_SENT)


def response_fields(response: Response) -> list[tuple[bytes, bytes]]:
    """The end-to-end fields of a response, its Content-Length as it is there."""
    head = response.head
    headers = response._headers
    if head is not None and (headers is None or not headers.changed):
        result = []
        for line in head.forward.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name not in _NOT_SENT_BYTES:
                result.append((name, value.strip(b" \t")))
        return result
    headers = response.headers
    named = {
        name.decode("latin-1")
        for value in headers.getall("connection", [])
        for name in tokens(value.encode("latin-1"))
        if name not in ESSENTIAL
    }
    return _encoded((name, value) for name, value in headers.items() if name.lower() not in named)


def trailer_fields(trailers: Headers) -> list[tuple[bytes, bytes]]:
    """Trailers as they are sent."""
    return _encoded(trailers.items())


def _encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [
        (low.encode("latin-1"), value.strip(" \t").encode("latin-1"))
        for name, value in fields
        if (low := name.lower()) not in _NOT_SENT
    ]
