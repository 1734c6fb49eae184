"""What httpbin answers through the platform is what it answers directly, to the byte.

Each exchange is sent once to a gunicorn of its own and once through the platform. Instead of cutting the proxy's headers out of
what httpbin echoes, the direct request carries those that the platform has to add: so they are compared as well.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import APPS, NGINX_IS_FRONT
from tests.support.nginx import nginx_before
from tests.support.platform import Platform
from tests.support.processes import free_port, program
from tests.support.raw import Address, Answer, HeaderList, chunked, exchange, request

HOST = "httpbin.example"

# What a proxy adds to a request; sent along on the direct way. ``origin`` in httpbin's answers is X-Forwarded-For.
ADDED_BY_THE_PROXY = (
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", HOST),
)

# Headers that concern one connection only (RFC 9110, 7.6.1): each hop has its own.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What may differ between two answers to the same request: in ``where``, the text that ``pattern`` finds."""

    target: str
    where: str
    pattern: str
    reason: str


ANYTHING = ""
NORMALISED = (
    Normalisation(ANYTHING, "date", ".*", "the second in which httpbin answered"),
    Normalisation("/uuid", "body", "[0-9a-f-]{36}", "random"),
    Normalisation("/cache", "last-modified", ".*", "the second in which httpbin answered"),
    Normalisation("/cache", "etag", ".*", "random"),
    Normalisation("/digest-auth", "www-authenticate", '(?<=nonce=")[0-9a-f]+', "random"),
    Normalisation("/digest-auth", "www-authenticate", '(?<=opaque=")[0-9a-f]+', "random"),
)
if NGINX_IS_FRONT:
    NORMALISED += (Normalisation(ANYTHING, "server", ".*", "nginx puts its own"),)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to httpbin. ``pieces`` is a body in chunked coding."""

    name: str
    method: str
    target: str
    headers: HeaderList = ()
    body: bytes | None = None
    pieces: tuple[bytes, ...] | None = None
    status: int = 200

    def to_bytes(self, added: HeaderList = ()) -> bytes:
        fields = [*self.headers, *added]
        if self.pieces is not None:
            fields.append(("Transfer-Encoding", "chunked"))
            return request(self.method, self.target, fields, host=HOST) + chunked(self.pieces)
        return request(self.method, self.target, fields, self.body, host=HOST)


FORM = [("Content-Type", "application/x-www-form-urlencoded")]
MULTIPART = [("Content-Type", "multipart/form-data; boundary=limit")]
FILE = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--limit--\r\n'
TEN_MIB = bytes(range(32, 96)) * (10 * 1024 * 1024 // 64)


def _get(name: str, target: str, headers: HeaderList = (), status: int = 200) -> Exchange:
    return Exchange(name, "GET", target, headers, status=status)


EXCHANGES = (
    # methods
    _get("get", "/get?a=1&b=two&b=three"),
    Exchange("head", "HEAD", "/get"),
    Exchange("post a form", "POST", "/post", FORM, b"a=1&b=2"),
    Exchange("post JSON", "POST", "/post", [("Content-Type", "application/json")], b'{"a": [1, 2, null]}'),
    Exchange("post a file", "POST", "/post", MULTIPART, FILE),
    Exchange("post nothing", "POST", "/post", body=b""),
    Exchange("put", "PUT", "/put", body=b"put"),
    Exchange("patch", "PATCH", "/patch", body=b"patch"),
    Exchange("delete", "DELETE", "/delete"),
    Exchange("delete with a body", "DELETE", "/delete", body=b"why not"),
    Exchange("options", "OPTIONS", "/get"),
    Exchange("options of anything", "OPTIONS", "/anything"),
    Exchange("trace", "TRACE", "/anything/traced"),
    Exchange("get with a body", "GET", "/anything", body=b"a body"),
    Exchange("method not allowed", "POST", "/get", body=b"", status=405),
    Exchange("binary body", "POST", "/anything", body=bytes(range(256))),
    # status codes
    *(_get(f"status {code}", f"/status/{code}", status=code) for code in (200, 201, 204, 304, 400, 402, 404, 418)),
    *(_get(f"status {code}", f"/status/{code}", status=code) for code in (406, 429, 500, 502, 503, 504, 599)),
    Exchange("post gets 204", "POST", "/status/204", body=b"x", status=204),
    Exchange("head gets 404", "HEAD", "/status/404", status=404),
    # redirects
    *(_get(f"redirect {code}", f"/status/{code}", status=code) for code in (301, 302, 303, 307, 308)),
    _get("relative redirect", "/relative-redirect/2", status=302),
    _get("absolute redirect", "/absolute-redirect/2", status=302),
    _get("redirect chain", "/redirect/3", status=302),
    _get("redirect to elsewhere", "/redirect-to?url=http%3A%2F%2Fexample.com%2F&status_code=307", status=307),
    # cookies
    _get("cookies", "/cookies", [("Cookie", "a=1; b=2")]),
    _get("two cookie headers", "/cookies", [("Cookie", "a=1"), ("X-Between", "x"), ("Cookie", "b=2")]),
    _get("set a cookie", "/cookies/set/name/value", status=302),
    _get("set several cookies", "/cookies/set?a=1&b=2&c=3", status=302),
    _get("delete cookies", "/cookies/delete?a=&b=", [("Cookie", "a=1; b=2")], status=302),
    # encodings
    _get("gzip", "/gzip", [("Accept-Encoding", "gzip")]),
    _get("deflate", "/deflate", [("Accept-Encoding", "deflate")]),
    _get("brotli", "/brotli", [("Accept-Encoding", "br")]),
    _get("utf-8", "/encoding/utf8"),
    _get("base64", "/base64/TW9vcmluZ3M="),
    # authentication
    _get("basic auth", "/basic-auth/u/p", [("Authorization", "Basic dTpw")]),
    _get("basic auth refused", "/basic-auth/u/p", status=401),
    _get("hidden basic auth refused", "/hidden-basic-auth/u/p", status=404),
    _get("bearer", "/bearer", [("Authorization", "Bearer token")]),
    _get("bearer refused", "/bearer", status=401),
    _get("digest auth refused", "/digest-auth/auth/u/p", status=401),
    # caches and ranges
    _get("cache", "/cache"),
    _get("not modified", "/cache", [("If-None-Match", "x")], status=304),
    _get("cache control", "/cache/60"),
    _get("etag", "/etag/abc"),
    _get("etag matches", "/etag/abc", [("If-None-Match", "abc")], status=304),
    _get("etag fails", "/etag/abc", [("If-Match", "other")], status=412),
    _get("whole range", "/range/1024"),
    _get("range", "/range/1024", [("Range", "bytes=100-199")], status=206),
    _get("open range", "/range/1024", [("Range", "bytes=1000-")], status=206),
    _get("last bytes", "/range/1024", [("Range", "bytes=-24")], status=206),
    _get("impossible range", "/range/1024", [("Range", "bytes=2000-3000")], status=416),
    _get("range in small chunks", "/range/26?chunk_size=5"),
    Exchange("head of a range", "HEAD", "/range/1024"),
    # bodies and streams
    _get("bytes", "/bytes/50000?seed=7"),
    _get("streamed bytes", "/stream-bytes/50000?seed=7&chunk_size=999"),
    _get("stream of lines", "/stream/20"),
    _get("drip", "/drip?numbytes=5&duration=0.2&delay=0"),
    _get("drip after a delay", "/drip?numbytes=2&duration=0&delay=0.3&code=201", status=201),
    _get("delay", "/delay/0.3"),
    Exchange("delayed post", "POST", "/delay/0.2", body=b"patience"),
    Exchange("10 MiB there and back", "POST", "/anything", [("Content-Type", "text/plain")], TEN_MIB),
    Exchange("10 MiB in chunks", "PUT", "/anything", pieces=tuple(TEN_MIB[i : i + 65536] for i in range(0, len(TEN_MIB), 65536))),
    Exchange("chunked upload", "POST", "/post", pieces=(b"one", b"two", b"three" * 1000)),
    Exchange("chunked upload of a form", "POST", "/post", FORM, pieces=(b"a=1", b"&b=2")),
    Exchange("empty chunked upload", "POST", "/post", pieces=()),
    # what is served
    _get("index", "/"),
    _get("html", "/html"),
    _get("xml", "/xml"),
    _get("json", "/json"),
    _get("robots", "/robots.txt"),
    _get("denied", "/deny"),
    _get("links", "/links/10/3"),
    _get("form", "/forms/post"),
    *(_get(f"image {kind}", f"/image/{kind}") for kind in ("png", "jpeg", "webp", "svg")),
    _get("image by Accept", "/image", [("Accept", "image/webp")]),
    _get("no image", "/image", [("Accept", "text/plain")], status=406),
    _get("not found", "/nothing/here", status=404),
    # what httpbin saw
    _get("headers", "/headers", [("X-One", "1"), ("X-Two", ""), ("Accept-Language", "de, en;q=0.5")]),
    _get("user agent", "/user-agent", [("User-Agent", "moorings test (x; y)")]),
    _get("ip", "/ip"),
    _get("uuid", "/uuid"),
    _get("response headers", "/response-headers?X-A=1&X-A=2&X-B=%C3%A9"),
    Exchange("posted response headers", "POST", "/response-headers?X-A=1", body=b""),
    _get("odd path", "/anything/%2F%2e%2e/a%20b/%C3%BC//x;y=z?q=%26&&=&%00"),
    _get("long query", "/anything?" + "&".join(f"k{i}=v{i}" for i in range(500))),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ways:
    """The two ways to httpbin."""

    direct: Address
    platform: Address


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("httpbin")
    port = free_port()
    scripts = sysconfig.get_path("scripts")
    command = [str(Path(scripts) / "gunicorn"), "-w", "1", "--threads", "8", "-b", f"127.0.0.1:{port}", "httpbin:app"]
    env = {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "PYTHONHASHSEED": "0"}
    with program(command, port, env=env, log=folder / "direct.out") as direct:
        if NGINX_IS_FRONT:
            with nginx_before(direct, folder) as address:
                yield Ways(direct, address)
        else:
            with Platform(APPS / "httpbin_behind.py", folder / "platform") as platform:
                yield Ways(direct, platform.address)


def normalised(sent: Exchange, answer: Answer) -> tuple[list[tuple[str, str]], bytes]:
    """The end-to-end headers, sorted by name (the order of same-named ones kept), and the body, after NORMALISED."""
    rules = [rule for rule in NORMALISED if sent.target.startswith(rule.target)]
    headers = []
    for name, value in answer.headers:
        if name.lower() in HOP_BY_HOP:
            continue
        for rule in rules:
            if rule.where == name.lower():
                value = re.sub(rule.pattern, "*", value)
        headers.append((name, value))
    body = answer.body
    for rule in rules:
        if rule.where == "body":
            body = re.sub(rule.pattern.encode(), b"*", body)
    return sorted(headers, key=lambda header: header[0].lower()), body


def test_at_least_forty_endpoints_are_compared() -> None:
    assert len({(sent.method, sent.target.split("?")[0]) for sent in EXCHANGES}) >= 40
    assert len({sent.name for sent in EXCHANGES}) == len(EXCHANGES)


@pytest.mark.parametrize("sent", EXCHANGES, ids=lambda sent: sent.name)
async def test_httpbin_answers_the_same_through_the_platform(ways: Ways, sent: Exchange) -> None:
    direct = await exchange(ways.direct, sent.to_bytes(ADDED_BY_THE_PROXY), method=sent.method)
    assert direct.status == sent.status, direct
    through = await exchange(ways.platform, sent.to_bytes(), method=sent.method)
    assert through.status == direct.status, through
    assert normalised(sent, through) == normalised(sent, direct)
    assert through.head.reason == direct.head.reason
