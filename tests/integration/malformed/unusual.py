"""Requests that are unusual and valid: each must pass, and reach the container as it was meant.

The counterweight to the corpus beside it: a guard that refuses these breaks programs that are right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.integration.malformed.case import CHUNKED, HOST, LAST_CHUNK, get, post


@dataclass(frozen=True, slots=True)
class Unusual:
    """A valid request, and what the container must have seen of it. Header names in lower case."""

    name: str
    why: str
    data: bytes
    method: str = "GET"
    target: str = "/"
    body: str = ""
    has: dict[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    trailers: list[list[str]] = field(default_factory=list)


def _line(name: str, why: str, target: bytes, seen: str | None = None) -> Unusual:
    return Unusual(name, why, get(line=b"GET " + target + b" HTTP/1.1"), target=seen or target.decode("latin-1"))


def _method(method: str, why: str) -> Unusual:
    return Unusual(f"method {method}", why, get(line=method.encode() + b" / HTTP/1.1"), method=method)


_CHUNKED_POST = b"POST / HTTP/1.1\r\n" + HOST + CHUNKED
_TRAILERS = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n"

TARGETS = (
    _line("dot segments", "not the proxy's to resolve", b"/a/../b/./c"),
    _line("doubled slashes", "not the proxy's to merge", b"//a//b"),
    _line("encoded slash and dots", "not the proxy's to decode", b"/%2F%2e%2E/%00"),
    _line("encoded UTF-8", "not the proxy's to decode", b"/%C3%BC%f0%9f%9a%a2"),
    _line("empty query", "not the same as none", b"/?"),
    _line("questions in the query", "pchar / '/' / '?' (RFC 3986, 3.4)", b"/?a=b?c=/d"),
    _line("sub-delims", "pchar (RFC 3986, 3.3)", b"/a;b=c,d/(e)/!$&'*+=:@~"),
    _line("8 KiB of target", "at least 8,000 octets (RFC 9112, 3)", b"/" + b"a" * 8192),
    _line("absolute form", "a server must accept it (RFC 9112, 3.2.2)", b"http://test.example/a?b", "/a?b"),
    _line("absolute form without path", "an empty path is '/' (RFC 9112, 3.2.1)", b"http://test.example", "/"),
    _line(
        "absolute form, capitals", "scheme and host know no case (RFC 3986, 6.2.2.1)", b"HTTP://TEST.example/A", "/A"
    ),
)

METHODS = (
    *(_method(name, "RFC 9110") for name in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS")),
    *(_method(name, "WebDAV") for name in ("PROPFIND", "MKCOL", "REPORT")),
    _method("M-SEARCH", "UPnP"),
    _method("PURGE", "caches"),
    Unusual("OPTIONS *", "RFC 9112, 3.2.4", get(line=b"OPTIONS * HTTP/1.1"), method="OPTIONS", target="*"),
)

HEADERS = (
    Unusual("an empty line before the request", "to be ignored (RFC 9112, 2.2)", b"\r\n" + get()),
    Unusual("names in any case", "case-insensitive (RFC 9110, 5.1)", b"GET / HTTP/1.1\r\nhOsT: test.example\r\n\r\n"),
    Unusual("no space after the colon", "OWS (RFC 9112, 5)", get(b"X-A:b\r\n"), has={"x-a": "b"}),
    Unusual("much space around a value", "OWS (RFC 9112, 5)", get(b"X-A: \t b c \t \r\n"), has={"x-a": "b c"}),
    Unusual("empty value", "field-content may be empty (RFC 9110, 5.5)", get(b"X-A:\r\n"), has={"x-a": ""}),
    Unusual("value of colons", "vchar (RFC 9110, 5.5)", get(b"X-A: ::b: c:\r\n"), has={"x-a": "::b: c:"}),
    Unusual("Latin-1 in a value", "obs-text (RFC 9110, 5.5)", get(b"X-A: caf\xe9\r\n"), has={"x-a": "caf\xe9"}),
    Unusual("UTF-8 in a value", "obs-text (RFC 9110, 5.5)", get(b"X-A: \xc3\xbc\r\n"), has={"x-a": "\xc3\xbc"}),
    Unusual("tab in a value", "HTAB (RFC 9110, 5.5)", get(b"X-A: b\tc\r\n"), has={"x-a": "b\tc"}),
    Unusual(
        "odd characters in a name",
        "tchar (RFC 9110, 5.6.2)",
        get(b"!#$%&'*+-.^_`|~0: b\r\n"),
        has={"!#$%&'*+-.^_`|~0": "b"},
    ),
    Unusual("underscore in a name", "tchar (RFC 9110, 5.6.2)", get(b"X_A: b\r\n"), has={"x_a": "b"}),
    Unusual(
        "a head of 60 KiB", "within 64 KiB", get(b"Cookie: " + b"c" * 61440 + b"\r\n"), has={"cookie": "c" * 61440}
    ),
    Unusual("100 headers", "not too many", get(b"".join(b"X-%d: y\r\n" % i for i in range(100))), has={"x-99": "y"}),
    Unusual(
        "Host with a port", "RFC 9110, 7.2", get(host=b"Host: test.example:8080\r\n"), has={"host": "test.example:8080"}
    ),
    Unusual(
        "Host as IPv6", "RFC 3986, 3.2.2", get(host=b"Host: [2001:db8::1]:80\r\n"), has={"host": "[2001:db8::1]:80"}
    ),
    Unusual(
        "Host with an underscore",
        "reg-name (RFC 3986, 3.2.2)",
        get(host=b"Host: a_b.test\r\n"),
        has={"host": "a_b.test"},
    ),
    Unusual("Host with a final dot", "reg-name (RFC 3986, 3.2.2)", get(host=b"Host: test.example.\r\n")),
    Unusual(
        "headers named by Connection",
        "dropped (RFC 9110, 7.6.1)",
        get(b"X-A: b\r\nConnection: X-A\r\n"),
        lacks=("x-a",),
    ),
    Unusual(
        "Connection that names Host",
        "must not strip what is end-to-end",
        get(b"Connection: Host, X-Forwarded-For, Cookie\r\nCookie: a=b\r\n"),
        has={"host": "test.example", "x-forwarded-for": "127.0.0.1"},
    ),
    Unusual(
        "Keep-Alive, Proxy-Connection",
        "for one hop",
        get(b"Keep-Alive: timeout=5\r\nProxy-Connection: x\r\n"),
        lacks=("keep-alive", "proxy-connection"),
    ),
    Unusual(
        "Upgrade to h2c",
        "may be ignored (RFC 9110, 7.8)",
        get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
        lacks=("upgrade", "http2-settings"),
    ),
    Unusual(
        "forged X-Forwarded headers",
        "replaced",
        get(b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"),
        has={"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"},
    ),
    Unusual("HTTP/1.0 without Host", "1.0 knows no Host", b"GET / HTTP/1.0\r\n\r\n"),
    Unusual("HTTP/1.0 with keep-alive", "asked for", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"\r\n"),
    Unusual(
        "HTTP/1.0 with a body",
        "by its length",
        b"POST / HTTP/1.0\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
        "POST",
        body="hello",
    ),
)

BODIES = (
    Unusual(
        "GET with a body",
        "no meaning, still framed (RFC 9110, 9.3.1)",
        get(b"Content-Length: 5\r\n") + b"hello",
        body="hello",
    ),
    Unusual("POST of nothing", "Content-Length: 0", post(b"Content-Length: 0\r\n"), "POST"),
    Unusual("POST without length", "no body (RFC 9112, 6.3, item 7)", post(b""), "POST"),
    Unusual(
        "zeros before the length",
        "1*DIGIT (RFC 9110, 8.6)",
        post(b"Content-Length: 0005\r\n", b"hello"),
        "POST",
        body="hello",
    ),
    Unusual(
        "space around the length",
        "OWS (RFC 9112, 5)",
        post(b"Content-Length: \t5 \r\n", b"hello"),
        "POST",
        body="hello",
    ),
    Unusual(
        "capital CHUNKED",
        "case-insensitive (RFC 9112, 7)",
        post(b"TRANSFER-ENCODING: CHUNKED\r\n", b"5\r\nhello\r\n" + LAST_CHUNK),
        "POST",
        body="hello",
    ),
    Unusual(
        "chunk sizes in capitals",
        "HEXDIG (RFC 9112, 7.1)",
        post(CHUNKED, b"A\r\nhelloworld\r\n" + LAST_CHUNK),
        "POST",
        body="helloworld",
    ),
    Unusual(
        "zeros before a chunk size",
        "1*HEXDIG (RFC 9112, 7.1)",
        post(CHUNKED, b"0005\r\nhello\r\n000\r\n\r\n"),
        "POST",
        body="hello",
    ),
    Unusual(
        "chunk extensions",
        "to be ignored (RFC 9112, 7.1.1)",
        post(CHUNKED, b'5;a;b=c;d="e"\r\nhello\r\n0;f\r\n\r\n'),
        "POST",
        body="hello",
    ),
    Unusual(
        "chunks of one byte",
        "as small as they come",
        post(CHUNKED, b"1\r\nx\r\n" * 1000 + LAST_CHUNK),
        "POST",
        body="x" * 1000,
    ),
    Unusual("empty chunked body", "only the last chunk", post(CHUNKED, LAST_CHUNK), "POST"),
    Unusual(
        "CRLFs in a chunk",
        "data is data",
        post(CHUNKED, b"8\r\n\r\n0\r\n\r\n\r\r\n" + LAST_CHUNK),
        "POST",
        body="\r\n0\r\n\r\n\r",
    ),
    Unusual(
        "trailers",
        "forwarded with a chunked body (RFC 9112, 7.1.2)",
        post(CHUNKED, _TRAILERS),
        "POST",
        body="hello",
        trailers=[["X-Sum", "1"], ["X-Sum", "2"]],
    ),
    Unusual(
        "a request in the body",
        "data is data",
        post(b"Content-Length: %d\r\n" % len(get()), get()),
        "POST",
        body=get().decode(),
    ),
)

UNUSUAL: tuple[Unusual, ...] = TARGETS + METHODS + HEADERS + BODIES
