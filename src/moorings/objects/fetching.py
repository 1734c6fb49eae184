"""``moorings.fetch``: a request to the outside, held by the output gate of the object that makes it.

It is a function, as users know it; the connections behind it belong to the platform that runs on the current event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from yarl import URL

from moorings.http import UNSET, Headers, HttpClient, Redirects, Request, Response
from moorings.http.message import Body
from moorings.objects.event import current_event
from moorings.objects.outgoing import StreamGate
from moorings.objects.running import refuse_unwinding

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpClient] = WeakKeyDictionary()


def use_client(client: HttpClient) -> None:
    """Let ``fetch`` use this client on the running loop; whoever made the client closes it."""
    _clients[asyncio.get_running_loop()] = client


async def fetch(
    url: str | URL | Request,
    *,
    method: str | None = None,
    headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    body: Body = None,
    json: object = UNSET,
    timeout: float = 60.0,
    redirects: Redirects = Redirects.MANUAL,
) -> Response:
    """Send an HTTP or HTTPS request to the outside and return the answer, its body still streaming.

    Inside an object, the request leaves when all writes that the object has made before it are durable. Redirects are
    handed to the caller unless ``redirects=Redirects.FOLLOW``; ``timeout`` is in seconds, to the answer's head.
    Raises ValueError for a URL that is not http or https, UpstreamTimeout, UpstreamError, and RuntimeError outside of a
    platform.
    """
    client = _clients.get(asyncio.get_running_loop())
    if client is None:
        raise RuntimeError("moorings.fetch works in a worker or an object that a platform runs")
    request = Request(url, method=method, headers=headers, body=body, json=json)
    event = current_event.get()
    if event is not None:
        await event.activation.written()
        request.hold_chunks(StreamGate(event.activation))
    else:
        refuse_unwinding()
    return await client.fetch(request, timeout=timeout, redirects=redirects)
