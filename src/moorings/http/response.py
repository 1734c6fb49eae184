"""Response: what a handler answers, or a container did."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast, overload

from moorings.http.headers import Headers
from moorings.http.message import Body, Message, StoredBody, encode_json, stored, with_trailers
from moorings.http.response_head import ResponseHead
from moorings.http.trailers import Trailers

_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class _Json:
    """The Fetch standard has both: ``Response.json(value)`` makes a response, ``await response.json()`` reads one."""

    __slots__ = ()

    @overload
    def __get__(self, instance: None, owner: type[Response]) -> Callable[..., Response]: ...

    @overload
    def __get__(self, instance: Response, owner: type[Response]) -> Callable[[], Coroutine[Any, Any, Any]]: ...

    def __get__(self, instance: Response | None, owner: type[Response]) -> object:
        return _json_response if instance is None else super(Response, instance).json


class Response(Message):
    """A response (Fetch standard). ``body`` is None, str, bytes or an async iterator of bytes; ``status`` 200 to 599.

    The headers of a response can be changed, also of one that a container gave. ``trailers`` are fields that are sent
    after the body; given as a Headers, they may be set until the body has ended. ValueError for a status that can't be
    sent, or a body or trailers where the status allows none.
    """

    __slots__ = ("_message", "head", "status")

    def __init__(
        self,
        body: Body = None,
        *,
        status: int = 200,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        trailers: Trailers | None = None,
    ) -> None:
        if type(status) is not int and not isinstance(status, HTTPStatus):
            raise TypeError(f"status is an int, not {status!r}")
        if not 200 <= status <= 599:
            raise ValueError(f"status {status} is not between 200 and 599")
        self.status = int(status)
        self.head: ResponseHead | None = None  # the validated head as received
        self._message: bytes | None = None  # the whole message as received, where it came in one piece
        self._used = False
        self._headers = Headers(headers)
        content, content_type = stored(body)
        self._body = with_trailers(content, trailers)
        if self._body is not None and status in (204, 205, 304):
            raise ValueError(f"a response with status {status} has no body")
        if content_type is not None and "content-type" not in self._headers:
            self._headers["Content-Type"] = content_type

    json = _Json()

    @classmethod
    def redirect(cls, url: object, status: int = 302) -> Response:
        """A redirect to ``url``. Raises ValueError for a status other than 301, 302, 303, 307 and 308."""
        if status not in _REDIRECTS:
            raise ValueError(f"{status} is not the status of a redirect")
        return cls(status=status, headers={"Location": str(url)})

    @classmethod
    def from_wire(cls, head: ResponseHead, message: bytes | None, body: StoredBody) -> Response:
        """A response that came off a connection: either whole in ``message``, or with ``body``."""
        self = cls.__new__(cls)
        self.status = head.status
        self.head = head
        self._message = message
        self._body = body
        self._used = False
        self._headers = None
        return self

    def _content(self) -> StoredBody:
        message = self._message
        if message is not None and self.head is not None:
            self._message = None
            self._body = message[self.head.size :] if len(message) > self.head.size else None
        return self._body

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    @property
    def headers(self) -> Headers:
        """The header fields; they can be changed."""
        if self._headers is None:
            self._headers = Headers.from_wire(cast(ResponseHead, self.head).fields, frozen=False)
        return self._headers

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def _json_response(
    value: object,
    *,
    status: int = 200,
    headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
) -> Response:
    """A JSON response; dataclasses and msgspec structs are taken as they are. TypeError for what has no JSON."""
    response = Response(encode_json(value), status=status, headers=headers)
    response.headers.setdefault("Content-Type", "application/json")
    return response
