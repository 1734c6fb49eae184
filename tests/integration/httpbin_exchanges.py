"""What is asked of httpbin: one entry per exchange, with the status that it answers by itself."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.raw import HeaderList, chunked, request

HOST = "httpbin.example"


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
TEN_MIB_IN_PIECES = tuple(TEN_MIB[start : start + 65536] for start in range(0, len(TEN_MIB), 65536))


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
    Exchange("10 MiB in chunks", "PUT", "/anything", pieces=TEN_MIB_IN_PIECES),
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
    _get("odd path", "/anything/%2e%2e/a%20b/%C3%BC/x;y=z/~?q=%26&&=&%00"),
    _get("long query", "/anything?" + "&".join(f"k{i}=v{i}" for i in range(400))),
)
