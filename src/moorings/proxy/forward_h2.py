"""forward_h2: what ``forward`` does, to a port that speaks HTTP/2 (RFC 9113, with prior knowledge).

Requests that nobody changed go on with the same fields as over HTTP/1.1; both versions may stand on either side.
Trailers pass both ways, which is what gRPC needs.
"""

from __future__ import annotations

from collections.abc import Callable

from moorings.errors import ClientDisconnected
from moorings.http.grpc import is_call
from moorings.http.h2_client.exchange import H2Exchange
from moorings.http.h2_client.heads import request_fields
from moorings.http.h2_client.perform import perform
from moorings.http.h2_client.pool import H2Pool
from moorings.http.h2_client.upload import Upload
from moorings.http.perform import SAFE
from moorings.http.request import Request
from moorings.http.response import Response
from moorings.proxy.forward import outgoing

_TE = (b"te", b"trailers")


async def forward_h2(
    request: Request,
    pool: H2Pool,
    *,
    on_end: Callable[[], object] | None = None,
    connect_timeout: float = 5.0,
) -> Response:
    """Send ``request`` to the pool's port and return the answer, its body still streaming.

    ``on_end`` is called exactly once, when the exchange is over, however it ends. Raises UpstreamError (ConnectFailed
    where nothing was sent), DeadlineExceeded for a gRPC call, ClientDisconnected when ``request.signal`` is set,
    BodyUsed, and whatever broke the request's body off.
    """
    method = request.method
    grpc = is_call(request)
    exchange = H2Exchange(on_end, request.signal, head_request=method == "HEAD", grpc=grpc)
    try:
        if exchange.signal.aborted:
            raise ClientDisconnected("the client went away")
        head, body, length = outgoing(request, pool)
        fields = request_fields(head)
        if grpc:
            if _TE not in fields:
                fields.append(_TE)
            if request.deadline is not None:
                exchange.expire_at(request.deadline, pool.clock)
        upload = None
        if body is not None and body != b"":
            upload = exchange.upload = Upload(body, length, exchange, pool.uploads)
        return await perform(exchange, pool, fields, upload, safe=method in SAFE, connect_timeout=connect_timeout)
    except BaseException as error:
        exchange.abort(error)
        raise
