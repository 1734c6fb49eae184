"""forward: a request to a container's port and its answer back (RFC 9110, 7.6; RFC 9112).

A head that nobody changed goes on as the bytes that came, with only the changed lines spliced in. Bodies pass from one
connection to the other without a task. A connection that turns out dead is replaced once: for safe methods while no
byte of the answer has come, for others only if nothing was written.
"""

from __future__ import annotations

from collections.abc import Callable

from moorings.errors import BodyUsed, ClientDisconnected
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.client_connection import Exchange, RequestBody
from moorings.http.grammar import Framing
from moorings.http.h2_client.pool import H2Pool
from moorings.http.headers import Headers
from moorings.http.perform import SAFE, perform
from moorings.http.request import Request
from moorings.http.request_head import origin_form
from moorings.http.response import Response
from moorings.http.serialize import declared_length, field_lines, framing_line
from moorings.proxy.pool import UpstreamPool

_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_FORWARDED = frozenset(("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "host"))


async def forward(
    request: Request,
    pool: UpstreamPool,
    *,
    on_end: Callable[[], object] | None = None,
    connect_timeout: float = 5.0,
) -> Response:
    """Send ``request`` to the pool's port and return the answer, its body still streaming.

    ``on_end`` is called exactly once, when the exchange is over, however it ends. Raises UpstreamError (ConnectFailed
    where nothing was sent), ClientDisconnected when ``request.signal`` is set, BodyUsed, and whatever broke the
    request's body off.
    """
    method = request.method
    exchange = Exchange(on_end, request.signal, head_request=method == "HEAD")
    try:
        if exchange.signal.aborted:
            raise ClientDisconnected("the client went away")
        head, body, length = outgoing(request, pool)
        return await perform(exchange, pool, head, body, length, method in SAFE, connect_timeout)
    except BaseException as error:
        exchange.abort(error)
        raise


def outgoing(request: Request, pool: UpstreamPool | H2Pool) -> tuple[bytes, RequestBody, int]:
    """The head to send, the body (taken over from the request), and the body's length or Framing. Raises BodyUsed."""
    fields = request.fields
    if fields is not None and fields.forward is not None and request._body is None and request.target[0] == 47:
        return b"%b %b HTTP/1.1%b" % (request.method.encode(), request.target, fields.forward), None, 0
    body = request._take()
    if isinstance(body, OwnedBody):
        body = body.release()
    if isinstance(body, BodyStream) and body.used:
        raise BodyUsed("this body has already been read; bodies are streamed and can be read once")
    if fields is None:
        return _made_head(request, pool, body)
    forward = fields.forward
    if forward is None:
        wire = request._wire
        assert wire is not None
        forward = fields.forward = wire.via.forwarded_fields(fields)
        if not fields.host:
            forward = fields.forward = b"\r\nHost: %b%b" % (_authority(pool), forward)
    target = request.target
    if target[0] != 47:
        target = origin_form(target)
    return b"%b %b HTTP/1.1%b" % (request.method.encode(), target, forward), body, fields.length


def _made_head(request: Request, pool: UpstreamPool | H2Pool, body: RequestBody) -> tuple[bytes, RequestBody, int]:
    """The head of a request made or changed in Python."""
    headers = request.headers
    host = headers.get("host")
    if host is None:
        url = request._url
        host = url.raw_authority if url is not None and url.raw_authority else _authority(pool).decode()
    lines = [
        b"%b %b HTTP/1.1\r\n" % (request.method.encode(), origin_form(request.target)),
        b"Host: %b\r\n" % host.encode("latin-1"),
    ]
    wire = request._wire
    if wire is None:
        lines += field_lines(headers, frozenset(("host",)))
    else:
        lines += field_lines(headers, _FORWARDED)
        given = headers if wire.trusted else Headers()
        before = given.get("x-forwarded-for")
        address = wire.peer[0] if before is None else f"{before}, {wire.peer[0]}"
        lines.append(
            f"X-Forwarded-For: {address}\r\n"
            f"X-Forwarded-Proto: {given.get('x-forwarded-proto', wire.scheme)}\r\n"
            f"X-Forwarded-Host: {given.get('x-forwarded-host', host)}\r\n".encode("latin-1")
        )
    if body is None:
        length = 0
    elif isinstance(body, bytes):
        length = len(body)
    elif isinstance(body, BodyStream):
        length = body.length
    else:
        declared = declared_length(headers)
        length = Framing.CHUNKED if declared is None else declared
    if body is not None or request.method in _WITH_BODY:
        lines.append(framing_line(length))
    upgrade = request.upgrade
    if upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade.encode("latin-1"))
    lines.append(b"\r\n")
    return b"".join(lines), body, length


def _authority(pool: UpstreamPool | H2Pool) -> bytes:
    host = f"[{pool.host}]" if ":" in pool.host else pool.host
    return f"{host}:{pool.port}".encode()
