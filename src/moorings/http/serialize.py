"""Heads as bytes: those made in Python, and those received whose fields were changed."""

from __future__ import annotations

from http import HTTPStatus

from moorings.errors import WorkerError
from moorings.http.grammar import ESSENTIAL, Framing, tokens
from moorings.http.headers import Headers

# Fields that belong to a connection or to the framing, which this module writes itself.
_OWN = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "expect",
        "http2-settings",
        "content-length",
    )
)
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK`` and its CRLF. Raises WorkerError for what is no status."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %b \r\n" % status_digits(status)


def status_digits(status: object) -> bytes:
    """The three digits of a status. Raises WorkerError for what is none: a worker may have set it on its response."""
    if not isinstance(status, int) or not 100 <= status <= 999:
        raise WorkerError(f"a response's status is a number from 200 to 599, not {status!r}")
    return b"%d" % status


def field_lines(headers: Headers, skip: frozenset[str] = frozenset()) -> list[bytes]:
    """The end-to-end fields of a message as lines; framing and hop-by-hop fields are left out, and ``skip``."""
    lines = []
    named = {
        name.decode("latin-1")
        for value in headers.getall("connection", [])
        for name in tokens(value.encode("latin-1"))
        if name not in ESSENTIAL
    }
    for name, value in headers.items():
        low = name.lower()
        if low not in _OWN and low not in named and low not in skip:
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
    return lines


def framing_line(length: int) -> bytes:
    """The line that says how a body ends; empty where it ends with the connection."""
    if length >= 0:
        return b"Content-Length: %d\r\n" % length
    return b"Transfer-Encoding: chunked\r\n" if length == Framing.CHUNKED else b""


def declared_length(headers: Headers) -> int | None:
    """The Content-Length of headers made in Python. ValueError unless it is a number."""
    value = headers.get("content-length")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"Content-Length {value!r} is not a number")
    return int(value)


def trailer_block(trailers: Headers | None) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return b"0\r\n\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    return b"0\r\n" + lines.encode("latin-1") + b"\r\n"
