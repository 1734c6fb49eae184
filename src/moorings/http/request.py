"""Request: what a client asked, parsed only as far as somebody looks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from yarl import URL

from moorings.http.grammar import TOKEN, tokens
from moorings.http.headers import UNSET, Headers, RawFields, Unset
from moorings.http.message import Body, Message, StoredBody, encode_json, stored, with_trailers
from moorings.http.request_head import RequestFields, Via, origin_form, switchable
from moorings.http.signal import AbortSignal
from moorings.http.trailers import Trailers

if TYPE_CHECKING:
    from moorings.http.websocket import MessageGate, WebSocket

_EMPTY = RawFields(b"\r\n\r\n")
_METHOD = TOKEN.decode() + "+"


@lru_cache(maxsize=1024)
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)


class Wire:
    """Where a request came from: the part of a connection that its request may ask for."""

    __slots__ = ("peer", "scheme", "trusted", "via")

    def __init__(self, peer: tuple[str, int], scheme: str, trusted: bool) -> None:
        self.peer = peer
        self.scheme = scheme
        self.trusted = trusted
        self.via = Via(peer[0], scheme, trusted)


class Request(Message):
    """A request (Fetch standard, as far as it makes sense in Python).

    ``Request(url, method=, headers=, body=, json=, trailers=)`` makes one; ``trailers`` are fields sent after the body.
    ``Request(request, ...)`` copies one: what isn't given is kept, the body is taken over (the original then counts as
    used), and so are ``signal``, ``client`` and the chosen port. Methods are upper case. TypeError or ValueError for
    arguments that can't be sent.
    """

    __slots__ = ("_deadline", "_gate", "_signal", "_url", "_wire", "container_port", "fields", "method", "target")

    _gate: MessageGate | None  # unset until ``gate_messages``
    _deadline: float  # unset until ``expire_at``

    def __init__(
        self,
        url: str | URL | Request,
        *,
        method: str | None = None,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        body: Body = None,
        json: object = UNSET,
        trailers: Trailers | None = None,
    ) -> None:
        if body is not None and not isinstance(json, Unset):
            raise TypeError("give either body or json")
        source = url if isinstance(url, Request) else None
        self.fields: RequestFields | None = None  # the validated fields as received, while they still hold
        self.container_port: int | None = None
        self._signal: AbortSignal | None = None
        self._wire: Wire | None = None
        self._used = False
        self._headers: Headers | None = None
        if source is None:
            self._url: URL | None = url if isinstance(url, URL) else URL(str(url))
            self.method = "GET"
            self.target = self._url.raw_path_qs.encode("ascii") or b"/"
        else:
            self._url = source._url
            self.method = source.method
            self.target = source.target
            self.container_port = source.container_port
            self._wire = source._wire
            self._signal = source.signal
            self._gate = getattr(source, "_gate", None)
            if source.deadline is not None:
                self._deadline = source.deadline
        if method is not None:
            self.method = _checked_method(method)
        self._set_headers(source, headers)
        self._set_body(source, body, json)
        if trailers is not None:
            self._set_trailers(trailers)

    def _set_headers(
        self, source: Request | None, headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None
    ) -> None:
        if source is not None and headers is None:
            self.fields = source.fields
            self._headers = None if source.fields is not None else source.headers.copy()
            if source._url is None:
                self._url = source.url
            return
        self._headers = Headers(headers)
        if source is not None:
            self._url = source.url

    def _set_body(self, source: Request | None, body: Body, json: object) -> None:
        content_type: str | None
        if not isinstance(json, Unset):
            self._body: StoredBody = encode_json(json)
            content_type = "application/json"
        elif body is None and source is not None:
            self._body = source._take()
            source._used = True
            return
        else:
            self._body, content_type = stored(body)
        if self.fields is not None and self._body is not None:
            self._headers = self.headers.copy()  # the framing fields no longer hold
            self.fields = None
        if content_type is not None and "content-type" not in self.headers:
            self.headers["Content-Type"] = content_type

    def _set_trailers(self, trailers: Trailers) -> None:
        self._body = with_trailers(self._body, trailers)
        if self.fields is not None:
            self._headers = self.headers.copy()  # the framing fields no longer hold
            self.fields = None
        if self.headers.get("content-length") is not None:
            del self.headers["content-length"]

    @classmethod
    def from_wire(cls, method: str, target: bytes, fields: RequestFields, wire: Wire, body: StoredBody) -> Request:
        """A request that came off a connection."""
        self = cls.__new__(cls)
        self.method = method
        self.target = target
        self.fields = fields
        self.container_port = None
        self._wire = wire
        self._body = body
        self._used = False
        self._headers = None
        self._url = None
        self._signal = None
        return self

    @property
    def url(self) -> URL:
        """The absolute URL; scheme and host are those that the client used."""
        if self._url is None:
            assert self.fields is not None
            scheme = self._wire.scheme if self._wire is not None else "http"
            path = "/*" if self.target == b"*" else origin_form(self.target).decode("latin-1")
            self._url = _parsed(f"{scheme}://{self.fields.host.decode('latin-1') or 'localhost'}{path}")
        return self._url

    @property
    def headers(self) -> Headers:
        """The header fields.

        Those of an incoming request can't be changed; ``Request(request, headers=)`` copies it.
        """
        if self._headers is None:
            self._headers = Headers.from_wire(self.fields or _EMPTY, frozen=True)
        return self._headers

    @property
    def upgrade(self) -> str | None:
        """The protocol that the client asks to switch to (RFC 9110, 7.8), ``websocket`` mostly; None if it doesn't."""
        if self.fields is not None:
            return self.fields.upgrade
        asked = switchable(self.headers.get("upgrade"))
        options = ",".join(self.headers.getall("connection", [])).encode("latin-1")
        return asked if asked is not None and b"upgrade" in tokens(options) else None

    def accept_websocket(self, *, protocols: Sequence[str] = (), max_message: int = 1024 * 1024) -> WebSocket:
        """Accept a WebSocket here, in Python: return its ``response`` from the handler, and use it from then on.

        ``protocols`` are the subprotocols that are spoken here, the preferred one first; a message over ``max_message``
        bytes closes it with 1009. Raises BadRequest (400) where the request is no WebSocket handshake.
        """
        from moorings.http.websocket import WebSocket  # the library is loaded where somebody needs it

        return WebSocket(self, protocols=protocols, max_message=max_message, gate=getattr(self, "_gate", None))

    def gate_messages(self, gate: MessageGate) -> None:
        """A WebSocket that is accepted from here on belongs to an object with these gates."""
        self._gate = gate

    @property
    def deadline(self) -> float | None:
        """When the client gives up, in seconds of the platform's monotonic clock; None where it gave no bound."""
        return getattr(self, "_deadline", None)

    def expire_at(self, deadline: float) -> None:
        """Note the deadline that came with the request."""
        self._deadline = deadline

    @property
    def signal(self) -> AbortSignal:
        """Set when the client has gone."""
        if self._signal is None:
            self._signal = AbortSignal()
        return self._signal

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer that sent it (a proxy, if there is one); None for a request made in Python."""
        return None if self._wire is None else self._wire.peer

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"


def _checked_method(method: str) -> str:
    upper = method.upper()
    if re.fullmatch(_METHOD, upper) is None or upper == "CONNECT":
        raise ValueError(f"{method!r} is not a method that can be sent")
    return upper
