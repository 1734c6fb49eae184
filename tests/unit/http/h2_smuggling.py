"""Requests of HTTP/2 that would be something else once they are written as HTTP/1.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.http2 import END_HEADERS, GET, POST, Field, data, get, headers, post

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: evil.example\r\n\r\n"
PSEUDO = (b":method", b":scheme", b":path", b":authority")


@dataclass(frozen=True, slots=True)
class Smuggling:
    """Frames of one stream that must not reach anybody."""

    name: str
    sent: bytes

    def __str__(self) -> str:
        return self.name


def replaced(name: bytes, value: bytes) -> tuple[Field, ...]:
    return tuple((key, value if key == name else old) for key, old in GET)


def pseudo() -> Iterator[Smuggling]:
    bad = {
        b":method": (
            b"GET ",
            b" GET",
            b"G ET",
            b"GET\r\nx: y",
            b"GET / HTTP/1.1\r\nx: y\r\n\r\n",
            b"",
            b"GET\0",
            b"G\xc3\xa9T",
        ),
        b":path": (
            b"/ HTTP/1.1\r\nhost: evil.example\r\n\r\nGET /smuggled",
            b"/ HTTP/1.1\r\nx: y",
            b"/a b",
            b"/a\tb",
            b"/a\rb",
            b"/a\nb",
            b"/a\0b",
            b"/a#b",
            b"/\xc3\xa9",
            b"/a\x7f",
            b"http://evil.example/",
            b"//evil.example\r\n",
            b"evil.example",
            b"?a=b",
            b"*",
            b"",
        ),
        b":scheme": (b"http\r\nx: y", b"http ", b"ftp", b"javascript", b"", b"http://evil.example/?"),
        b":authority": (
            b"test.example\r\nx: y",
            b"test.example\r\n\r\nGET /smuggled HTTP/1.1",
            b"test.example x",
            b"test.example\0",
            b"user@test.example",
            b"test.example/path",
            b"test.example:80:80",
            b"test.example:99999",
            b"",
            b" ",
        ),
    }
    for name, values in bad.items():
        for value in values:
            yield Smuggling(f"{name.decode()} {value!r}", headers(fields=replaced(name, value)))
    for name in PSEUDO:
        pair = next(pair for pair in GET if pair[0] == name)
        rest = tuple(other for other in GET if other[0] != name)
        yield Smuggling(f"{name.decode()} after a field", headers(fields=(*rest, (b"x", b"y"), pair)))
        yield Smuggling(f"{name.decode()} twice", headers(fields=(*GET, pair)))
        if name != b":authority":
            yield Smuggling(f"no {name.decode()}", headers(fields=rest))
    yield Smuggling("an unknown pseudo-header field", headers(fields=(*GET, (b":user", b"x"))))
    yield Smuggling("neither :authority nor Host", headers(fields=GET[:3]))
    yield Smuggling("another Host", get(1, b"/", (b"host", b"evil.example")))
    yield Smuggling("two Hosts", headers(fields=GET[:3], extra=((b"host", b"a"), (b"host", b"b"))))
    yield Smuggling("a Host that is none", headers(fields=GET[:3], extra=((b"host", b"a b"),)))


def fields() -> Iterator[Smuggling]:
    for name in (
        b"x y",
        b"x:",
        b":x",
        b"x\r\ny",
        b"x: y\r\nz",
        b"x\0",
        b"",
        b"X",
        b"Transfer-Encoding",
        b"x\t",
        b"\xc3\xa9",
        b"x\ny",
    ):
        yield Smuggling(f"the name {name!r}", get(1, b"/", (name, b"1")))
    for value in (
        b"a\r\nx: y",
        b"a\r\n\r\n" + SMUGGLED,
        b"a\nb",
        b"a\rb",
        b"a\0b",
        b" a",
        b"a ",
        b"\ta",
        b"a\x01",
        b"a\x7f",
    ):
        yield Smuggling(f"the value {value!r}", get(1, b"/", (b"x", value)))
    for crumb in (b"a=1\r\nx: y", b"a=1\n", b" a=1"):
        yield Smuggling(f"the cookie {crumb!r}", get(1, b"/", (b"cookie", b"b=2"), (b"cookie", crumb)))
    for name, value in (
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"connection", b"keep-alive"),
        (b"connection", b"close, content-length"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"keep-alive"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
        (b"te", b"trailers, chunked"),
        (b"transfer_encoding", b"chunked"),
        (b"content_length", b"5"),
    ):
        yield Smuggling(f"{name.decode()}: {value.decode()}", get(1, b"/", (name, value)))
        yield Smuggling(
            f"{name.decode()}: {value.decode()} with a body", post(1, (name, value)) + data(1, b"0\r\n\r\n" + SMUGGLED)
        )


def lengths() -> Iterator[Smuggling]:
    for value in (
        b"-1",
        b"+4",
        b"4, 4",
        b"0x4",
        b"4 ",
        b" 4",
        b"",
        b"4\r\nx: y",
        b"\xb2",
        b"4.0",
        b"99999999999999999999",
        b"4;",
    ):
        sent = post(1, (b"content-length", value)) + data(1, b"body")
        yield Smuggling(f"the length {value!r}", sent)
    twice = ((b"content-length", b"4"), (b"content-length", b"4"))
    yield Smuggling("the length twice", post(1, *twice) + data(1, b"body"))
    other = ((b"content-length", b"4"), (b"content-length", b"5"))
    yield Smuggling("two lengths", post(1, *other) + data(1, b"body"))
    yield Smuggling("a length, and nothing", headers(1, POST, extra=((b"content-length", b"4"),)))


CASES = (*pseudo(), *fields(), *lengths())


def broken_bodies() -> Iterator[Smuggling]:
    """The head is good and may reach the container; the body is no whole one."""
    long, short = (b"content-length", b"9"), (b"content-length", b"2")
    yield Smuggling("a body under its length", post(1, long) + data(1, b"body"))
    yield Smuggling("a body over its length", post(1, short) + data(1, b"body" + SMUGGLED))
    yield Smuggling("a body over its length in two frames", post(1, short) + data(1, b"bo", 0) + data(1, SMUGGLED))
    yield Smuggling("a length, and trailers at once", post(1, long) + headers(1, [(b"x", b"y")]))
    for name, value in (
        (b"x", b"a\r\n\r\n" + SMUGGLED),
        (b"x\r\ny", b"z"),
        (b":path", b"/"),
        (b"X", b"y"),
        (b"connection", b"x"),
    ):
        sent = post(1) + data(1, b"body", 0) + headers(1, [(name, value)])
        yield Smuggling(f"the trailer {name!r}: {value!r}", sent)
    yield Smuggling("trailers that don't end the stream", post(1) + headers(1, [(b"x", b"y")], flags=END_HEADERS))
