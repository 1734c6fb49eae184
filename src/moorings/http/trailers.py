"""Trailer fields (RFC 9110, 6.5): what may come after a body, in both directions and in both versions of HTTP.

Received trailers are those of the body's stream: a connection ends a body with ``BodyStream.finish(trailers)``, a sink
is told them by ``body_end(trailers)``, and ``Message.trailers`` has them once the body has been read. A message that is
made in Python may be given ``trailers=``; its body is then a ``TrailedBody``. Whoever sends a body asks ``following``
what comes after it, once its last chunk has been taken.

Trailers that are given as a ``Headers`` are not copied: a body that is made while it is sent may set them to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from moorings.http.headers import Headers

Trailers = Headers | Mapping[str, str] | Iterable[tuple[str, str]]

# What a recipient must know before the body, or must never take from a trailer (RFC 9110, 6.5.1).
FORBIDDEN = frozenset(
    (
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "content-encoding",
        "content-type",
        "content-range",
        "authorization",
        "cookie",
        "set-cookie",
        "cache-control",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    )
)


def allowed(fields: Iterable[tuple[str, str]]) -> Headers:
    """Received trailer fields, without those that are FORBIDDEN. ValueError for what is no field."""
    return Headers([(name, value) for name, value in fields if name.lower() not in FORBIDDEN])


class TrailedBody:
    """A body with the trailers that were given with it. Its length is not known beforehand."""

    __slots__ = ("_chunks", "_whole", "trailers")

    def __init__(self, body: bytes | AsyncIterator[bytes] | None, trailers: Headers) -> None:
        self._whole = body if isinstance(body, bytes) else b""
        self._chunks = None if body is None or isinstance(body, bytes) else body
        self.trailers = trailers

    def __aiter__(self) -> TrailedBody:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks is not None:
            return await anext(self._chunks)
        whole, self._whole = self._whole, b""
        if not whole:
            raise StopAsyncIteration
        return whole

    async def aclose(self) -> None:
        """Drop the rest."""
        self._whole = b""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


def given(trailers: Trailers) -> Headers:
    """Trailers as they are kept. ValueError for a field that can't be sent or must not be a trailer."""
    fields = trailers if isinstance(trailers, Headers) else Headers(trailers)
    for name in fields:
        if name.lower() in FORBIDDEN:
            raise ValueError(f"{name!r} can't be a trailer (RFC 9110, 6.5.1)")
    return fields


def following(body: Any) -> Headers | None:
    """The trailers to send after ``body``, whose last chunk has been taken; None where there are none."""
    trailers = getattr(body, "trailers", None)
    return trailers if trailers else None
