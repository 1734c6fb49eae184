"""Request heads: strict guards, and what the platform needs to know of one.

Everything ambiguous is an error (RFC 9112, 11.2: request smuggling), raised before anything reaches a handler. The
result is split in two: the request line, new with every request, and the field block (``RequestFields``), which clients
mostly repeat on a connection and which is then recognised by comparing bytes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import httptools

from moorings.errors import BadRequest, ExpectationFailed, HeaderFieldsTooLarge, NotImplementedByServer
from moorings.http.grammar import DIGITS, DROPPED, TOKEN, Framing, clean, special, tokens, without_hop_by_hop
from moorings.http.headers import RawFields

LINE = re.compile(rb"(" + TOKEN + rb"{1,32}) ([!\x22$-~]+) HTTP/1\.([01])\r\n")
_VERSION = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9]\.[0-9]\r\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~%]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)

_KNOWN = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "SEARCH",
    "UNLOCK",
    "BIND",
    "REBIND",
    "UNBIND",
    "ACL",
    "REPORT",
    "MKACTIVITY",
    "CHECKOUT",
    "MERGE",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PURGE",
    "MKCALENDAR",
    "LINK",
    "UNLINK",
    "SOURCE",
    "QUERY",
)
METHODS = {name.encode(): name for name in _KNOWN}


class _Witness:
    """Sees whether llhttp thinks a head complete."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


class RequestFields(RawFields):
    """The validated field block of a request.

    ``length`` is the body's, or Framing.CHUNKED; ``host`` is b"" only for HTTP/1.0; ``plain`` says that nothing in it
    is meant for this connection only.
    """

    __slots__ = (
        "connection",
        "expects_continue",
        "forward",
        "forwarded",
        "hops",
        "host",
        "keep_alive",
        "length",
        "minor",
        "plain",
        "te",
        "upgrade",
    )

    def __init__(self, raw: bytes, minor: int) -> None:
        super().__init__(raw)
        self.minor = minor
        self.host = b""
        self.length = 0
        self.connection: bytes | None = None
        self.expects_continue = False
        self.te: bytes | None = None
        self.upgrade: str | None = None  # the protocol that the client asks to switch to
        self.forwarded: dict[bytes, bytes] = {}  # the client's own X-Forwarded-* fields
        self.plain = True
        self.hops: list[tuple[int, int]] = []  # where in ``raw`` the fields are that aren't sent on
        self.keep_alive = minor == 1
        self.forward: bytes | None = None  # what is sent on in its place, once made


def request_line(data: bytes) -> tuple[str, bytes, int]:
    """Method, target and minor version of the head at the start of ``data``.

    Raises BadRequest, NotImplementedByServer.
    """
    match = LINE.match(data)
    if match is None:
        if _VERSION.match(data) is not None:
            raise BadRequest("only HTTP/1.0 and HTTP/1.1 are spoken here")
        raise BadRequest("the request line is malformed")
    raw_method, target, minor = match.groups()
    method = METHODS.get(raw_method)
    if method is None:
        raise NotImplementedByServer("this method is not known here")
    if target[0] != 47 or method == "CONNECT":
        _check_target(method, target)
    return method, target, 1 if minor == b"1" else 0


def _check_target(method: str, target: bytes) -> None:
    if method == "CONNECT":
        raise NotImplementedByServer("this server is no forward proxy: CONNECT is refused")
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest("the target * is for OPTIONS only")
        return
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not good_authority(match[1]):
        raise BadRequest("the request target is neither a path nor an http URL")


def good_authority(value: bytes) -> bool:
    """Whether this is a host and maybe a port, without user information (RFC 9110, 4.2.4)."""
    match = _HOST.fullmatch(value)
    if match is None or (match[2] is not None and int(match[2]) > 65535):
        return False
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1].decode())
        except ValueError:
            return False
    return True


def origin_form(target: bytes) -> bytes:
    """The path and query of a checked target (RFC 9112, 3.2.1)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return target
    path: bytes = match[2] or b"/"
    return path if path[:1] == b"/" else b"/" + path


def check_authority(target: bytes, fields: RequestFields) -> None:
    """Raise BadRequest where an absolute target and Host name different authorities."""
    match = _ABSOLUTE.fullmatch(target)
    if match is not None and fields.host and match[1].lower() != fields.host.lower():
        raise BadRequest("the request target and Host name different authorities")


def request_fields(
    head: bytes, eol: int, minor: int, max_headers: int, before: RequestFields | None = None
) -> RequestFields:
    """Check the field block of a head whose request line ends at ``eol``; ``before`` came before on its connection.

    Raises BadRequest, HeaderFieldsTooLarge, ExpectationFailed, NotImplementedByServer.
    """
    lines = head.count(b"\r\n")
    if not clean(head, lines):
        raise BadRequest("the head has a control byte, or a CR or LF on its own")
    if lines - 2 > max_headers:
        raise HeaderFieldsTooLarge(f"more than {max_headers} header fields")
    raw = head[eol:]
    fields = RequestFields(raw, minor)
    fields._low = low = raw.lower()
    _interpret(fields, special(low), minor, b"" if before is None else before.host)
    if minor == 1 and not fields.host:
        raise BadRequest("the Host field is missing")
    _second_opinion(head)
    return fields


def _interpret(fields: RequestFields, found: Iterator[re.Match[bytes]], minor: int, known_host: bytes) -> None:
    length: int | None = None
    coding: bytes | None = None
    for match in found:
        name, value = match.groups()
        if value and value[-1] <= 32:
            value = value.rstrip(b" \t")
        if name in DROPPED:
            fields.hops.append(match.span())
        if name == b"host":
            if fields.host:
                raise BadRequest("there is more than one Host field")
            if value != known_host and not good_authority(value):
                raise BadRequest("the Host field is not a host and port")
            fields.host = value
        elif name == b"content-length":
            if length is not None:
                raise BadRequest("there is more than one Content-Length field")
            if DIGITS.fullmatch(value) is None:
                raise BadRequest("the Content-Length field is not a number")
            length = int(value)
        elif name == b"transfer-encoding":
            coding = value if coding is None else coding + b"," + value
        elif name in (b"content_length", b"transfer_encoding"):
            raise BadRequest("a field imitates Content-Length or Transfer-Encoding")
        else:
            fields.plain = False
            _note(fields, name, value, minor)
    if coding is not None:
        fields.plain = False
        _check_coding(coding, length, minor)
        fields.length = Framing.CHUNKED
    elif length is not None:
        fields.length = length
    if fields.connection is not None and fields.connection != b"keep-alive":
        options = tokens(fields.connection)
        fields.keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        if b"upgrade" in options and minor == 1:
            fields.upgrade = switchable(fields.first("upgrade"))
    elif fields.connection is not None:
        fields.keep_alive = True


def _check_coding(coding: bytes, length: int | None, minor: int) -> None:
    if minor == 0:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
    if length is not None:
        raise BadRequest("both Content-Length and Transfer-Encoding are given")
    codings = coding.replace(b" ", b"").replace(b"\t", b"").split(b",")
    if codings == [b"chunked"]:
        return
    if b"chunked" in codings[:-1] or b"" in codings:
        raise BadRequest("chunked is not the last transfer coding, or is given twice")
    raise NotImplementedByServer("chunked is the only transfer coding known here")


def _note(fields: RequestFields, name: bytes, value: bytes, minor: int) -> None:
    if name == b"connection":
        fields.connection = value if fields.connection is None else fields.connection + b"," + value
    elif name == b"te":
        fields.te = value
    elif name == b"expect":
        if minor == 1:
            if value != b"100-continue":
                raise ExpectationFailed("only 100-continue can be expected")
            fields.expects_continue = True
    elif name.startswith(b"x"):
        known = name.replace(b"_", b"-")
        before = fields.forwarded.get(known)
        fields.forwarded[known] = value if before is None else before + b", " + value


def switchable(asked: str | None) -> str | None:
    """The value of an Upgrade field where it asks for what may be switched to (RFC 9110, 7.8); h2c is ignored."""
    return None if not asked or asked.lower() == "h2c" else asked


def _second_opinion(head: bytes) -> None:
    witness = _Witness()
    try:
        httptools.HttpRequestParser(witness).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadRequest(f"the request is malformed: {error}") from None
    if not witness.complete:
        raise BadRequest("the request is malformed")


class Via:
    """On whose behalf a connection's requests are sent on: the peer's address and scheme, and whether it is trusted."""

    __slots__ = ("_usual", "peer", "scheme", "trusted")

    def __init__(self, peer: str, scheme: str, trusted: bool) -> None:
        self.peer = peer.encode("latin-1")
        self.scheme = scheme.encode()
        self.trusted = trusted
        self._usual: tuple[bytes, bytes] | None = None  # the last host, and the lines for it

    def forwarded_fields(self, fields: RequestFields) -> bytes:
        """The field block as it is sent on: hop-by-hop fields out, X-Forwarded-* in."""
        raw = without_hop_by_hop(fields.raw, fields.hops, fields.connection) if fields.hops else fields.raw
        given = fields.forwarded if self.trusted else {}
        usual = self._usual
        if not given and usual is not None and usual[0] == fields.host:
            lines = usual[1]
        else:
            lines = self._lines(fields.host, given)
            if not given:
                self._usual = (fields.host, lines)
        if fields.length == Framing.CHUNKED:
            lines += b"Transfer-Encoding: chunked\r\n"
        if fields.te is not None and b"trailers" in tokens(fields.te):
            lines += b"TE: trailers\r\nConnection: TE\r\n"
        if fields.upgrade is not None:
            lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % fields.upgrade.encode("latin-1")
        return b"%b%b\r\n" % (raw[:-2], lines)

    def _lines(self, host: bytes, given: dict[bytes, bytes]) -> bytes:
        before = given.get(b"x-forwarded-for")
        address = self.peer if before is None else before + b", " + self.peer
        proto = given.get(b"x-forwarded-proto", self.scheme)
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address, proto)
        host = given.get(b"x-forwarded-host", host)
        return lines + b"X-Forwarded-Host: %b\r\n" % host if host else lines
