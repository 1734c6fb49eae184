"""HttpClient: requests to the outside, over HTTP and HTTPS, on the same connections that containers are reached by.

Bodies stream both ways. Content codings are left as they are: nobody asks for gzip here unless the caller does, and
what comes compressed is handed over compressed. Redirects are answers like others unless the caller asks for them to be
followed.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from enum import Enum

from yarl import URL

from moorings.clock import Clock
from moorings.errors import ClientDisconnected, UpstreamError, UpstreamTimeout
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.client_connection import Exchange, RequestBody
from moorings.http.grammar import Framing
from moorings.http.headers import UNSET, Headers
from moorings.http.message import Body, StoredBody
from moorings.http.perform import SAFE, perform
from moorings.http.pool import ConnectionPool
from moorings.http.request import Request
from moorings.http.response import Response
from moorings.http.serialize import declared_length, field_lines, framing_line
from moorings.http.signal import AbortSignal

_MAX_POOLS = 256
_MAX_REDIRECTS = 20
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_HOST = frozenset(("host",))
_SECRETS = ("authorization", "cookie", "proxy-authorization")


class Redirects(Enum):
    """What becomes of an answer that redirects."""

    MANUAL = "manual"  # it is the answer
    FOLLOW = "follow"  # it is followed, at most 20 times


class HttpClient:
    """Makes requests. One per platform; ``close`` it at the end."""

    def __init__(self, *, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._tls = tls
        self._pools: dict[tuple[str, str, int], ConnectionPool] = {}

    async def fetch(
        self,
        url: str | URL | Request,
        *,
        method: str | None = None,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        body: Body = None,
        json: object = UNSET,
        timeout: float = 60.0,
        redirects: Redirects = Redirects.MANUAL,
    ) -> Response:
        """Send a request and return the answer, its body still streaming.

        ``timeout`` is in seconds, from the call to the head of the answer. Raises ValueError for a URL that is not http
        or https, UpstreamTimeout, UpstreamError (ConnectFailed where nothing was sent), and what the body raised. With
        FOLLOW, a redirect becomes a GET where the Fetch standard says so, loses its credentials when it leaves the
        origin, and is an UpstreamError where a body would have to be sent again that can't.
        """
        request = Request(url, method=method, headers=headers, body=body, json=json)
        left = _MAX_REDIRECTS
        while True:
            content = request._take()
            response = await self._send(request, content, timeout)
            location = response.headers.get("location")
            if redirects is Redirects.MANUAL or location is None or response.status not in (301, 302, 303, 307, 308):
                return response
            if left == 0:
                raise UpstreamError(f"more than {_MAX_REDIRECTS} redirects")
            left -= 1
            await _drop(response)
            request = _redirected(request, content, response.status, location)

    async def close(self) -> None:
        """Close every connection now, and wait until nothing goes on; exchanges in progress fail. Idempotent."""
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            pool.abort()
        for pool in pools:
            await pool.wait_closed()

    async def _send(self, request: Request, content: StoredBody, timeout: float) -> Response:
        pool = self._pool(request.url)
        body = content.release() if isinstance(content, OwnedBody) else content
        length = _length(request, body)
        signal = AbortSignal()
        forget = request.signal.add_listener(signal.fire)
        exchange = Exchange(forget, signal, head_request=request.method == "HEAD")
        timer = self._clock.call_later(timeout, signal.fire)
        try:
            return await perform(
                exchange, pool, _head(request, body, length), body, length, request.method in SAFE, timeout
            )
        except BaseException as error:
            exchange.abort(error)
            if isinstance(error, ClientDisconnected) and not request.signal.aborted:
                raise UpstreamTimeout(f"{request.url.origin()} did not answer within {timeout} s") from None
            raise
        finally:
            timer.cancel()

    def _pool(self, url: URL) -> ConnectionPool:
        if url.scheme not in ("http", "https") or url.host is None or url.port is None:
            raise ValueError(f"{str(url)!r} is not an http or https URL")
        key = (url.scheme, url.host, url.port)
        pool = self._pools.get(key)
        if pool is None:
            if len(self._pools) >= _MAX_POOLS:
                self._pools = {key: pool for key, pool in self._pools.items() if pool.busy}
            if url.scheme == "https" and self._tls is None:
                self._tls = ssl.create_default_context()
            tls = self._tls if url.scheme == "https" else None
            pool = self._pools[key] = ConnectionPool(url.host, url.port, clock=self._clock, max_idle=32, tls=tls)
        return pool


def _length(request: Request, body: RequestBody) -> int:
    if body is None:
        return 0
    if isinstance(body, bytes):
        return len(body)
    if isinstance(body, BodyStream):
        return body.length
    declared = declared_length(request.headers)
    return Framing.CHUNKED if declared is None else declared


def _head(request: Request, body: RequestBody, length: int) -> bytes:
    headers = request.headers
    url = request.url
    authority = f"{url.host_subcomponent}:{url.explicit_port}" if url.explicit_port else url.host_subcomponent or ""
    lines = [
        b"%b %b HTTP/1.1\r\n" % (request.method.encode(), url.raw_path_qs.encode("ascii") or b"/"),
        f"Host: {headers.get('host', authority)}\r\n".encode("latin-1"),
        *field_lines(headers, _HOST),
    ]
    if "user-agent" not in headers:
        lines.append(b"User-Agent: moorings\r\n")
    if "accept" not in headers:
        lines.append(b"Accept: */*\r\n")
    if body is not None or request.method in _WITH_BODY:
        lines.append(framing_line(length))
    lines.append(b"\r\n")
    return b"".join(lines)


def _redirected(request: Request, content: StoredBody, status: int, location: str) -> Request:
    """The request that follows a redirect (Fetch standard, HTTP-redirect fetch)."""
    url = request.url.join(URL(location))
    headers = Headers(request.headers)
    headers.pop("host", None)
    method = request.method
    if (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST"):
        method, content = "GET", None
        for name in ("content-type", "content-length", "content-encoding", "content-language", "content-location"):
            headers.pop(name, None)
    if content is not None and not isinstance(content, bytes):
        raise UpstreamError("a redirect asks for the body again, which was streamed and is gone")
    if url.origin() != request.url.origin():
        for name in _SECRETS:
            headers.pop(name, None)
    return Request(url, method=method, headers=headers, body=content)


async def _drop(response: Response) -> None:
    content = response._take()
    if isinstance(content, OwnedBody):
        await content.aclose()
