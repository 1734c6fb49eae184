"""BodyStream: bytes that arrive on one connection, on their way to one reader.

The reader is either code (``async for``) or another connection (a *sink*), to which chunks are handed as they come,
without copy, task or queue. Back-pressure: at most ``HIGH_WATER`` bytes (and the chunk in hand) wait here, then the
source is told to stop reading; a sink stops it by ``pause`` and ``resume``.

Invariants: after ``finish``, ``fail`` or ``close`` nothing more is taken from the source, and the sink has been told
the end exactly once unless it detached itself. A source that was told to stop is told to go on when its body is
complete, so that its connection can be used for what follows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from moorings.errors import BodyUsed, ClientDisconnected
from moorings.http.headers import Headers

HIGH_WATER = 64 * 1024


class Source(Protocol):
    """The connection that a body arrives on."""

    def pause_body(self) -> None:
        """Stop reading; called once until ``resume_body``."""

    def resume_body(self) -> None:
        """Go on reading."""

    def body_wanted(self) -> None:
        """Somebody starts to read (the moment for ``100 Continue``); called once."""

    def body_dropped(self) -> None:
        """Nobody will read the rest; called once, and only while the body is incomplete."""


class Sink(Protocol):
    """The connection that a body leaves on."""

    def body_chunk(self, chunk: bytes) -> None: ...

    def body_end(self, trailers: Headers | None) -> None: ...

    def body_error(self, error: BaseException) -> None: ...


class BodyStream:
    """One body on its way.

    ``length`` is its length or a Framing; ``trailers`` is set, if there were any, when the end has been read.
    """

    __slots__ = (
        "_chunks",
        "_closed",
        "_error",
        "_paused",
        "_sink",
        "_sink_paused",
        "_size",
        "_source",
        "_waiter",
        "ended",
        "length",
        "trailers",
        "used",
    )

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self.length = length
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._sink: Sink | None = None
        self._sink_paused = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._closed = False
        self.ended = False
        self.trailers: Headers | None = None
        self.used = False

    # --- the source's side

    def feed(self, chunk: bytes) -> None:
        """A piece has arrived (never empty)."""
        if self._sink is not None:
            self._sink.body_chunk(chunk)
            return
        if self._closed:
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size >= HIGH_WATER:
            self._flow()
        if self._waiter is not None:
            self._wake()

    def finish(self, trailers: Headers | None = None) -> None:
        """The body is complete. A source that was stopped reads on: what follows on its connection is not this body."""
        if self._paused:
            self._paused = False
            self._source.resume_body()
        self.ended = True
        self.trailers = trailers
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.body_end(trailers)
        if self._waiter is not None:
            self._wake()

    def fail(self, error: BaseException) -> None:
        """The body will never be complete."""
        if self.ended:
            return
        self.ended = True
        self._error = error
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.body_error(error)
        if self._waiter is not None:
            self._wake()

    @property
    def failed(self) -> bool:
        """Whether the body broke off."""
        return self._error is not None

    # --- the reader's side

    def attach(self, sink: Sink) -> None:
        """Hand everything to ``sink``, now and as it comes. BodyUsed if somebody has begun to read."""
        self._claim()
        error, trailers = self._error, self.trailers
        chunks = self._chunks
        if not self.ended:
            self._sink = sink
        while chunks:
            sink.body_chunk(chunks.popleft())
        self._size = 0
        if self._sink is not None:
            self._flow()
        elif error is not None:
            sink.body_error(error)
        elif self.ended:
            sink.body_end(trailers)

    def pause(self) -> None:
        """The sink can't take more for now."""
        self._sink_paused = True
        self._flow()

    def resume(self) -> None:
        """The sink can take more."""
        self._sink_paused = False
        self._flow()

    def detach(self) -> None:
        """The sink wants no more; what still comes is dropped, without a word to the source."""
        self._sink = None
        self._closed = True
        self._sink_paused = False
        self._chunks.clear()
        self._size = 0
        self._flow()

    def close(self) -> None:
        """Drop the rest; the source is told if the body isn't complete. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.used = True
        self._sink = None
        self._chunks.clear()
        self._size = 0
        if not self.ended:
            self._error = ClientDisconnected("the body was closed before it was complete")
            self.ended = True
            self._source.body_dropped()

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        if not self.used:
            self._claim()
        chunks = self._chunks
        while not chunks:
            if self._error is not None:
                raise self._error
            if self.ended:
                raise StopAsyncIteration
            if self._sink is not None or self._waiter is not None:
                raise BodyUsed("this body is being read by somebody else")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = chunks.popleft()
        self._size -= len(chunk)
        if self._paused:
            self._flow()
        return chunk

    def _claim(self) -> None:
        if self.used:
            raise BodyUsed("this body has already been read; bodies are streamed and can be read once")
        self.used = True
        if not self.ended:
            self._source.body_wanted()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _flow(self) -> None:
        """Stop or start the source, whichever follows from what waits here and from the sink."""
        want = self._sink_paused or self._size >= HIGH_WATER
        if want == self._paused or self.ended:
            return
        self._paused = want
        if want:
            self._source.pause_body()
        else:
            self._source.resume_body()


class OwnedBody:
    """A reader's handle on a BodyStream that must not be forgotten: dropped unread, it closes the stream."""

    __slots__ = ("_mine", "stream")

    def __init__(self, stream: BodyStream) -> None:
        self.stream = stream
        self._mine = True

    def __aiter__(self) -> OwnedBody:
        return self

    async def __anext__(self) -> bytes:
        return await self.stream.__anext__()

    async def aclose(self) -> None:
        """Drop the rest."""
        self.stream.close()

    def release(self) -> BodyStream:
        """Hand the stream to another owner."""
        self._mine = False
        return self.stream

    def __del__(self) -> None:
        if self._mine:
            self.stream.close()
