"""Request lines, Hosts and headers that break the grammar, or are too large; and what isn't HTTP at all."""

from __future__ import annotations

from tests.integration.malformed.case import CHUNKED, HOST, SMUGGLED, bad, get, post

HOSTS = (
    bad("no Host", "must be refused with 400 (RFC 9112, 3.2)", get(host=b"")),
    bad("two Hosts that differ", "must be refused with 400 (RFC 9112, 3.2)", get(b"Host: other.example\r\n")),
    bad("two Hosts, the same", "must be refused with 400 (RFC 9112, 3.2)", get(HOST)),
    bad(
        "Host: a list",
        "no comma in uri-host (RFC 3986, 3.2.2, as routed on by proxies)",
        get(host=b"Host: a.example, b.example\r\n"),
    ),
    bad("Host: userinfo", "uri-host [ ':' port ] only (RFC 9110, 7.2)", get(host=b"Host: user@test.example\r\n")),
    bad(
        "Host: userinfo with password",
        "uri-host [ ':' port ] only (RFC 9110, 7.2)",
        get(host=b"Host: a:b@test.example\r\n"),
    ),
    bad("Host: path", "uri-host [ ':' port ] only (RFC 9110, 7.2)", get(host=b"Host: test.example/path\r\n")),
    bad("Host: query", "uri-host [ ':' port ] only (RFC 9110, 7.2)", get(host=b"Host: test.example?x\r\n")),
    bad("Host: space", "uri-host [ ':' port ] only (RFC 9110, 7.2)", get(host=b"Host: test.example other\r\n")),
    bad("Host: port of letters", "port = *DIGIT (RFC 3986, 3.2.3)", get(host=b"Host: test.example:http\r\n")),
    bad("Host: two ports", "port = *DIGIT (RFC 3986, 3.2.3)", get(host=b"Host: test.example:80:81\r\n")),
    bad("Host: open bracket", "IP-literal (RFC 3986, 3.2.2)", get(host=b"Host: [::1\r\n")),
    bad("Host: angle brackets", "not in uri-host (RFC 3986, 3.2.2)", get(host=b"Host: <test>\r\n")),
    bad(
        "Host: space before the colon",
        "must be refused with 400 (RFC 9112, 5.1)",
        get(host=b"Host : test.example\r\n"),
    ),
    bad("Host: NUL", "control byte (RFC 9110, 5.5)", get(host=b"Host: test\x00.example\r\n")),
    bad(
        "Host only as obs-fold",
        "a line that starts with a space is no Host",
        get(host=b"X-A: b\r\n Host: test.example\r\n"),
    ),
)

HEADERS = (
    bad("obs-fold", "must be refused or replaced (RFC 9112, 5.2)", get(b"X-A: b\r\n c\r\n")),
    bad("obs-fold with a tab", "must be refused or replaced (RFC 9112, 5.2)", get(b"X-A: b\r\n\tc\r\n")),
    bad(
        "space before the first header",
        "must be refused, or the line ignored (RFC 9112, 2.2)",
        b"GET / HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n",
    ),
    bad("space before the colon", "must be refused with 400 (RFC 9112, 5.1)", get(b"X-A : b\r\n")),
    bad("no colon", "field-line = field-name ':' ... (RFC 9112, 5)", get(b"nonsense\r\n")),
    bad("empty name", "field-name = token (RFC 9110, 5.1)", get(b": value\r\n")),
    bad("space in a name", "field-name = token (RFC 9110, 5.1)", get(b"X A: b\r\n")),
    bad("quotes in a name", "field-name = token (RFC 9110, 5.1)", get(b'"X-A": b\r\n')),
    bad("parenthesis in a name", "field-name = token (RFC 9110, 5.1)", get(b"X(A): b\r\n")),
    bad("Latin-1 in a name", "field-name = token (RFC 9110, 5.1)", get(b"X-\xe9: b\r\n")),
    bad("NUL in a name", "field-name = token (RFC 9110, 5.1)", get(b"X\x00A: b\r\n")),
    bad("NUL in a value", "must be refused or replaced (RFC 9110, 5.5)", get(b"X-A: b\x00c\r\n")),
    bad("BEL in a value", "control bytes are not in field-vchar (RFC 9110, 5.5)", get(b"X-A: b\x07c\r\n")),
    bad("DEL in a value", "control bytes are not in field-vchar (RFC 9110, 5.5)", get(b"X-A: b\x7fc\r\n")),
    bad("ESC at the end of a value", "control bytes are not in field-vchar (RFC 9110, 5.5)", get(b"X-A: b\x1b\r\n")),
    bad("bare CR in a value", "must be refused or replaced (RFC 9112, 2.2)", get(b"X-A: b\rX-B: c\r\n")),
    bad("bare CR ends a header", "must be refused or replaced (RFC 9112, 2.2)", get(b"X-A: b\r" + CHUNKED)),
    bad("bare LF ends a header", "not CRLF; a strict reader sees another head (RFC 9112, 2.2)", get(b"X-A: b\n")),
    bad(
        "bare LF hides a header",
        "not CRLF; a strict reader sees one header (RFC 9112, 2.2)",
        post(b"X-A: b\nContent-Length: 5\r\n", b"hello"),
    ),
    bad("bare LF everywhere", "not CRLF (RFC 9112, 2.2)", b"GET / HTTP/1.1\nHost: test.example\n\n"),
    bad("LF alone ends the head", "not CRLF (RFC 9112, 2.2)", b"GET / HTTP/1.1\r\n" + HOST + b"\n" + SMUGGLED),
    bad("CR CR LF ends a line", "bare CR (RFC 9112, 2.2)", get(b"X-A: b\r\r\n")),
)

REQUEST_LINES = (
    bad("HTTP/0.9", "no version (RFC 9112, 3)", b"GET /\r\n\r\n"),
    bad("version 2.0 in text", "not HTTP/1.x", get(line=b"GET / HTTP/2.0")),
    bad(
        "version 1.1 in lower case",
        "HTTP-name is case-sensitive (RFC 9112, 2.3)",
        get(line=b"GET / http/1.1"),
    ),
    bad("version 1.10", "one digit (RFC 9112, 2.3)", get(line=b"GET / HTTP/1.10")),
    bad("version 1", "DIGIT '.' DIGIT (RFC 9112, 2.3)", get(line=b"GET / HTTP/1")),
    bad("version with a space", "DIGIT '.' DIGIT (RFC 9112, 2.3)", get(line=b"GET / HTTP/ 1.1")),
    bad("another protocol", "not HTTP", get(line=b"GET / RTSP/1.0")),
    bad("something after the version", "CRLF must follow (RFC 9112, 3)", get(line=b"GET / HTTP/1.1 x")),
    bad("space after the version", "CRLF must follow (RFC 9112, 3)", get(line=b"GET / HTTP/1.1 ")),
    bad("two spaces before the target", "exactly one (RFC 9112, 3)", get(line=b"GET  / HTTP/1.1")),
    bad("two spaces before the version", "exactly one (RFC 9112, 3)", get(line=b"GET /  HTTP/1.1")),
    bad("tab after the method", "exactly one SP (RFC 9112, 3)", get(line=b"GET\t/ HTTP/1.1")),
    bad("space before the method", "no leading space (RFC 9112, 3)", get(line=b" GET / HTTP/1.1")),
    bad("space in the target", "no space in a target (RFC 9112, 3.2)", get(line=b"GET /a b HTTP/1.1")),
    bad("tab in the target", "control byte (RFC 9112, 3.2)", get(line=b"GET /a\tb HTTP/1.1")),
    bad("NUL in the target", "control byte (RFC 9112, 3.2)", get(line=b"GET /a\x00b HTTP/1.1")),
    bad("DEL in the target", "control byte (RFC 9112, 3.2)", get(line=b"GET /a\x7fb HTTP/1.1")),
    bad("bare CR in the request line", "must be refused (RFC 9112, 2.2)", get(line=b"GET /a\rb HTTP/1.1")),
    bad("no target", "request-target (RFC 9112, 3.2)", get(line=b"GET  HTTP/1.1")),
    bad(
        "target without slash",
        "no form of a request-target (RFC 9112, 3.2)",
        get(line=b"GET index.html HTTP/1.1"),
    ),
    bad("asterisk with GET", "only for OPTIONS (RFC 9112, 3.2.4)", get(line=b"GET * HTTP/1.1")),
    bad(
        "authority form with GET",
        "only for CONNECT (RFC 9112, 3.2.3)",
        get(line=b"GET test.example:80 HTTP/1.1"),
    ),
    bad(
        "absolute form without host",
        "http needs a host (RFC 9110, 4.2.1)",
        get(line=b"GET http:///path HTTP/1.1"),
    ),
    bad(
        "absolute form with userinfo",
        "to be treated as an error (RFC 9110, 4.2.4)",
        get(line=b"GET http://user@test.example/ HTTP/1.1"),
    ),
    bad(
        "fragment in the target",
        "absolute-path [ '?' query ] (RFC 9112, 3.2.1)",
        get(line=b"GET /a#b HTTP/1.1"),
    ),
    bad("CONNECT", "no tunnels to anywhere", get(line=b"CONNECT test.example:443 HTTP/1.1"), 400, 501),
    bad("method in brackets", "method = token (RFC 9110, 9.1)", get(line=b"[GET] / HTTP/1.1")),
    bad("method with a NUL", "method = token (RFC 9110, 9.1)", get(line=b"GE\x00T / HTTP/1.1")),
    bad("method with a colon", "method = token (RFC 9110, 9.1)", get(line=b"GET: / HTTP/1.1")),
    bad("method in Latin-1", "method = token (RFC 9110, 9.1)", get(line=b"G\xcbT / HTTP/1.1")),
)

SIZES = (
    bad(
        "head of 80 KiB, one header",
        "over the limit of 64 KiB (RFC 6585, 5)",
        get(b"X-A: " + b"b" * 81920 + b"\r\n"),
        431,
    ),
    bad(
        "head of 80 KiB, many headers", "over the limit of 64 KiB (RFC 6585, 5)", get(b"X-A: bbbbbbbb\r\n" * 5461), 431
    ),
    bad(
        "target of 80 KiB",
        "over the limit of the head",
        get(line=b"GET /" + b"a" * 81920 + b" HTTP/1.1\r\n"),
        400,
        431,
    ),
    bad("12,000 tiny headers", "too many to be meant, within 64 KiB", get(b"a:\r\n" * 12000), 431),
    bad(
        "a head without end",
        "over the limit of 64 KiB before its end came",
        b"GET / HTTP/1.1\r\n" + HOST + b"X-A: " + b"b" * 131072,
        431,
    ),
    bad("a line without end", "over the limit of 64 KiB before its end came", b"G" * 131072, 400, 431),
    bad("header name of 80 KiB", "over the limit of 64 KiB (RFC 6585, 5)", get(b"X" * 81920 + b": b\r\n"), 431),
)

NOT_HTTP = (
    bad(
        "TLS hello",
        "HTTPS spoken to a plain port",
        bytes.fromhex("16030100c8010000c40303") + bytes(range(64)) + b"\r\n\r\n",
    ),
    bad("SSH banner", "another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    bad("an answer", "a response is no request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("NULs", "no protocol at all", bytes(64) + b"\r\n\r\n"),
    bad(
        "PROXY protocol",
        "not configured, and would choose the client's address",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + SMUGGLED,
    ),
)
