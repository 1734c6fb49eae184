"""What Request and Response share: a body that is streamed, never gathered unless asked for, and read once."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from moorings.errors import BodyUsed
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.headers import Headers
from moorings.http.trailers import TrailedBody, Trailers, given

Body = str | bytes | bytearray | memoryview | AsyncIterable[bytes] | None
StoredBody = bytes | BodyStream | OwnedBody | AsyncIterator[bytes] | None


def stored(body: object) -> tuple[StoredBody, str | None]:
    """A body as it is kept, and the content type that follows from its Python type. TypeError for what is no body."""
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain;charset=UTF-8"
    if isinstance(body, bytes):
        return body, None
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body), None
    if isinstance(body, (BodyStream, OwnedBody)):
        return body, None
    if isinstance(body, _Reading):
        return body.unread(), None
    if isinstance(body, AsyncIterable):
        return aiter(body), None
    raise TypeError(f"a body is str, bytes or an async iterator of bytes, not {type(body).__name__}")


def with_trailers(body: StoredBody, trailers: Trailers | None) -> StoredBody:
    """A stored body, with the trailers that were given with it, if any. ValueError for those that can't be sent."""
    if trailers is None:
        return body
    return TrailedBody(body, given(trailers))


class Message:
    """A request or a response."""

    __slots__ = ("__weakref__", "_body", "_headers", "_used")

    _body: StoredBody
    _headers: Headers | None
    _used: bool

    def _content(self) -> StoredBody:
        return self._body

    @property
    def body(self) -> AsyncIterator[bytes] | None:
        """The body, to be read once: ``async for chunk in message.body``. None where there is none."""
        content = self._content()
        if content is None:
            return None
        return _Reading(self)

    @property
    def body_used(self) -> bool:
        """Whether somebody has begun to read the body, or taken it over."""
        stream = stream_of(self._content())
        return self._used or (stream is not None and stream.used)

    @property
    def trailers(self) -> Headers | None:
        """The trailer fields (RFC 9110, 6.5), once the body has been read to its end; None before, and without any.

        Those that a message was made with (``trailers=``) are there from the beginning.
        """
        content = self._content()
        if isinstance(content, TrailedBody):
            return content.trailers
        stream = stream_of(content)
        return None if stream is None else stream.trailers

    async def bytes(self) -> builtins.bytes:
        """The whole body. Raises BodyUsed the second time, and what broke the body off if it is incomplete."""
        content = self._take()
        if content is None:
            return b""
        if isinstance(content, builtins.bytes):
            return content
        return b"".join([chunk async for chunk in content])

    async def text(self) -> str:
        """The whole body as UTF-8; malformed bytes become U+FFFD (Fetch standard)."""
        return (await self.bytes()).decode("utf-8", "replace")

    async def json(self) -> Any:
        """The whole body as JSON. Raises ValueError if it is none."""
        content = await self.bytes()
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"the body is not JSON: {error}") from None

    def hold_chunks(self, until: Callable[[], Awaitable[None]]) -> None:
        """Await ``until()`` before each chunk of a body that is made in Python; bytes from a connection pass freely."""
        body = self._content()
        if body is not None and not isinstance(body, (builtins.bytes, BodyStream, OwnedBody)):
            chunks = held(body, until)
            self._body = TrailedBody(chunks, body.trailers) if isinstance(body, TrailedBody) else chunks

    def give_back(self) -> None:
        """Let the body be taken once more. For whoever has taken it and read nothing of it."""
        self._used = False

    def _take(self) -> StoredBody:
        """The body, for its one reader. Raises BodyUsed."""
        content = self._content()
        if content is None:
            return None
        if self._used:
            raise BodyUsed("this body has already been read; bodies are streamed and can be read once")
        self._used = True
        return content


class _Reading:
    """A message's body as an async iterator; it counts as used from the first step on."""

    __slots__ = ("_iterator", "_message")

    def __init__(self, message: Message) -> None:
        self._message: Message | None = message
        self._iterator: StoredBody = None

    def unread(self) -> StoredBody:
        """What is left to read: the body itself where nobody has begun."""
        if self._message is None:
            return self
        message, self._message = self._message, None
        return message._take()

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> bytes:
        if self._message is not None:
            content = self._message._take()
            self._message = None
            if isinstance(content, bytes):
                if content:
                    return content
                raise StopAsyncIteration
            self._iterator = content
        if self._iterator is None or isinstance(self._iterator, bytes):
            raise StopAsyncIteration
        return await anext(self._iterator)


async def held(chunks: AsyncIterator[bytes], until: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """The same chunks, each after ``until()``."""
    try:
        async for chunk in chunks:
            await until()
            yield chunk
        await until()
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def stream_of(body: StoredBody) -> BodyStream | None:
    """The stream behind a body that comes straight off a connection."""
    if type(body) is BodyStream:
        return body
    if type(body) is OwnedBody:
        return body.stream
    return None


def encode_json(value: object) -> bytes:
    """JSON, also of dataclasses and msgspec structs. TypeError for what has no JSON."""
    return msgspec.json.encode(value)
