"""ClientConnection: the platform's connection to a server, one exchange at a time.

An Exchange is one request and its answer. It ends exactly once, however it ends: the answer is complete, the connection
breaks, somebody aborts it, or its body is dropped. A connection is handed back for another exchange only after a
complete answer to a completely sent request, with nothing after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from moorings.errors import BadRequest, ClientDisconnected, HeaderFieldsTooLarge, UpstreamError
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.bounded_reads import BoundedReads
from moorings.http.framing import BodyReader, ChunkedReader, EofReader, FixedReader
from moorings.http.grammar import Framing
from moorings.http.headers import Headers
from moorings.http.owned_tasks import OwnedTasks
from moorings.http.response import Response
from moorings.http.response_head import ResponseHead, response_head
from moorings.http.serialize import trailer_block
from moorings.http.signal import AbortSignal
from moorings.http.trailers import following

_MAX_HEAD = 64 * 1024
_MAX_HEADERS = 256
_MAX_INTERIM = 16
_JOIN = 64 * 1024

RequestBody = bytes | BodyStream | AsyncIterator[bytes] | None


class Dropped(UpstreamError):
    """The connection ended before a byte of the answer had come."""


class Carrier(Protocol):
    """What an exchange is under way on: a connection of its own, or a stream of one."""

    def drop(self) -> None:
        """Break off what is under way, without telling the exchange."""


class Exchange:
    """One request and its answer on a connection. ``on_end`` is called exactly once; ``signal`` breaks it off."""

    __slots__ = ("_on_end", "connection", "future", "head_request", "signal", "stream")

    def __init__(self, on_end: Callable[[], object] | None, signal: AbortSignal, *, head_request: bool) -> None:
        self._on_end = on_end
        self.signal = signal
        self.head_request = head_request
        self.connection: Carrier | None = None
        self.future: asyncio.Future[Response] | None = None
        self.stream: BodyStream | None = None
        signal._listeners.append(self)

    def end(self) -> None:
        """It is over. Idempotent."""
        self.signal.remove_listener(self)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()

    def fail(self, error: BaseException) -> None:
        """The answer will never be complete.

        Before its head, whoever waits for it decides what follows; after, it ends.
        """
        self.connection = None
        future, self.future = self.future, None
        if future is not None and not future.done():
            future.set_exception(error)
            return
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.fail(error)
        self.end()

    def abort(self, error: BaseException) -> None:
        """Break it off; its connection is closed."""
        connection = self.connection
        if connection is not None:
            connection.drop()
        self.fail(error)

    def switched(self, connection: ClientConnection, head: ResponseHead, rest: bytes) -> bool:
        """The answer is a 101, with ``rest`` behind it; whether that was asked for and dealt with."""
        return False

    def __call__(self) -> None:
        """The signal is set."""
        self.abort(ClientDisconnected("the client went away"))


class ClientConnection(BoundedReads):
    """The client's side of a connection. ``on_free(connection)`` is called when it can take another exchange.

    Bodies made in Python are sent by tasks of ``uploads``; their owner waits for them at the end.
    """

    __slots__ = (
        "_aborted",
        "_exchange",
        "_interim",
        "_last",
        "_on_free",
        "_on_lost",
        "_partial",
        "_pump",
        "_reader",
        "_reusable",
        "_stream",
        "_upload",
        "_upload_length",
        "_uploading",
        "_uploads",
        "_waiter",
        "_write_paused",
        "idle_since",
        "loop",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[ClientConnection], None],
        on_lost: Callable[[ClientConnection], None],
        uploads: OwnedTasks,
    ) -> None:
        super().__init__(loop)
        self.loop = loop
        self._on_free = on_free
        self._on_lost = on_lost
        self._uploads = uploads
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0
        self._aborted = False
        self._exchange: Exchange | None = None
        self._last: ResponseHead | None = None  # servers repeat their heads
        self._partial = b""
        self._interim = 0
        self._reader: BodyReader | None = None
        self._stream: BodyStream | None = None
        self._reusable = False
        self._uploading = False
        self._upload: BodyStream | None = None
        self._upload_length = 0
        self._pump: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._write_paused = False

    # --- an exchange

    def start(self, exchange: Exchange, head: bytes, body: RequestBody, length: int) -> None:
        """Send a request. ``length`` is its body's, or Framing.CHUNKED, where it isn't bytes."""
        transport = self.transport
        if transport is None or transport.is_closing():
            exchange.fail(Dropped("the upstream closed the connection"))
            return
        self._exchange = exchange
        exchange.connection = self
        if body is None:
            transport.write(head)
        elif isinstance(body, bytes):
            if len(body) <= _JOIN:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
        else:
            transport.write(head)
            self._uploading = True
            self._upload_length = length
            if isinstance(body, BodyStream):
                self._upload = body
                body.attach(self)
            else:
                self._pump = self._uploads.spawn(self._send(body), name="moorings-upload")

    async def _send(self, body: AsyncIterator[bytes]) -> None:
        """Send a body made in Python, at the speed the server takes it; it is cancelled when the exchange ends."""
        try:
            async for chunk in body:
                if self._exchange is None:
                    return
                if chunk:
                    self.body_chunk(chunk)
                if self._write_paused:
                    waiter = self._waiter = self.loop.create_future()
                    await waiter
        except Exception as error:  # noqa: BLE001  # whatever the body raises ends the exchange
            self.body_error(error)
            return
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if self._exchange is not None:
            self.body_end(following(body))

    def drop(self) -> None:
        """Close the connection at once, whatever it is doing."""
        self._exchange = None
        self._stop_upload()
        if self.transport is not None:
            self.transport.abort()

    def abort(self) -> None:
        """Close the connection at once; an exchange in progress fails when it is lost, however its end is marked."""
        self._aborted = True
        if self.transport is not None:
            self.transport.abort()

    def release(self) -> asyncio.Transport | None:
        """Let go of the transport, for another protocol to take over; this connection counts as lost."""
        transport, self.transport = self.transport, None
        self._exchange = None
        self._on_lost(self)
        return transport

    def close(self) -> None:
        """Close an idle connection."""
        if self.transport is not None:
            self.transport.close()

    # --- Sink: the request body from another connection

    def body_chunk(self, chunk: bytes) -> None:
        transport = self.transport
        if transport is None or self._exchange is None:
            return
        if self._upload_length == Framing.CHUNKED:
            size = b"%x\r\n" % len(chunk)
            if len(chunk) <= _JOIN:
                transport.write(b"".join((size, chunk, b"\r\n")))
            else:
                transport.writelines((size, chunk, b"\r\n"))
            return
        self._upload_length -= len(chunk)
        if self._upload_length < 0:
            self.body_error(ValueError("the body is longer than its Content-Length"))
            return
        transport.write(chunk)

    def body_end(self, trailers: Headers | None) -> None:
        self._uploading = False
        self._upload = None
        self._pump = None
        if self.transport is None or self._exchange is None:
            return
        if self._upload_length == Framing.CHUNKED:
            self.transport.write(trailer_block(trailers))
        elif self._upload_length > 0:
            self.body_error(ValueError("the body is shorter than its Content-Length"))

    def body_error(self, error: BaseException) -> None:
        self._upload = None
        self._pump = None
        exchange = self._exchange
        if exchange is not None:
            exchange.abort(error)

    def _stop_upload(self) -> None:
        self._uploading = False
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.detach()
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()

    # --- Source: the response body

    def pause_body(self) -> None:
        self.reader_is_behind()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_body(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def body_wanted(self) -> None:
        """Source: nothing to do."""

    def body_dropped(self) -> None:
        exchange = self._exchange
        self._stream = None
        self.drop()
        if exchange is not None:
            exchange.stream = None
            exchange.end()

    # --- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.resume_writing()
        exchange = self._exchange
        if exchange is not None:
            if isinstance(self._reader, EofReader) and exc is None and not self._aborted:
                self._complete()
            elif self._reader is None and not self._partial and not self._interim:
                self._break(Dropped("the upstream closed the connection before it answered"))
            else:
                self._break(UpstreamError("the upstream closed the connection in the middle of its answer"))
        self._on_lost(self)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._upload is not None:
            self._upload.resume()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # an answer to nothing: this connection can't be trusted
            self.drop()
            return
        if self._reader is not None:
            self._body_received(data)
            return
        if self._partial:
            data = self._partial + data
        last = self._last
        if last is not None and data.startswith(last.data):
            head = last
        else:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or end > _MAX_HEAD:
                if len(data) > _MAX_HEAD:
                    self._break(UpstreamError("the head of the upstream's answer is too large"))
                else:
                    self._partial = data
                return
            try:
                head = response_head(data if end == len(data) else data[:end], _MAX_HEADERS)
            except UpstreamError as error:
                self._break(error)
                return
            if head.status < 200:
                self._interim_received(head, data)
                return
            self._last = head
        if self._partial:
            self._partial = b""
        if len(data) == head.whole and not self._uploading and not exchange.head_request:
            # The usual answer: all of it in one piece, on a connection that is kept.
            future = exchange.future
            exchange.future = None
            exchange.connection = None
            self._exchange = None
            self._interim = 0
            self._on_free(self)
            exchange.end()
            if future is not None and not future.done():
                future.set_result(Response.from_wire(head, data, None))
            return
        self._head_received(exchange, head, data)

    def _interim_received(self, head: ResponseHead, data: bytes) -> None:
        self._interim += 1
        exchange = self._exchange
        if head.status == 101 and exchange is not None and not self._uploading:
            rest = data[head.size :]
            if exchange.switched(self, head, rest):
                return
        if head.status == 101 or self._interim > _MAX_INTERIM:
            self._break(UpstreamError("the upstream switched protocols, which it was not asked to do"))
            return
        self._partial = b""
        if len(data) > head.size:
            self.data_received(data[head.size :])

    def _head_received(self, exchange: Exchange, head: ResponseHead, data: bytes) -> None:
        size = head.size
        length = 0 if exchange.head_request or head.bodyless else head.length
        self._reusable = head.reusable
        future = exchange.future
        exchange.future = None
        have = len(data) - size
        if length >= 0 and have >= length:
            if have > length:
                self._reusable = False
                data = data[: size + length]
            self._complete()
            if future is not None and not future.done():
                future.set_result(Response.from_wire(head, data, None))
            return
        if length == Framing.CHUNKED:
            self._reader = ChunkedReader(max_trailers=_MAX_HEADERS)
        elif length == Framing.UNTIL_CLOSE:
            self._reader = EofReader()
        else:
            self._reader = FixedReader(length)
        stream = self._stream = exchange.stream = BodyStream(self, length)
        if have:
            self._body_received(data[size:])
        if future is not None and not future.done():
            future.set_result(Response.from_wire(head, None, OwnedBody(stream)))
        elif not stream.ended:
            stream.close()

    def _body_received(self, data: bytes) -> None:
        reader, stream = self._reader, self._stream
        if reader is None or stream is None:
            return
        try:
            rest = reader.take(data, stream)
        except (BadRequest, HeaderFieldsTooLarge) as error:
            self._break(UpstreamError(f"the upstream's answer is malformed: {error}"))
            return
        if rest is not None:
            if rest:
                self._reusable = False
            self._complete()

    def _complete(self) -> None:
        """The answer is complete."""
        exchange, stream = self._exchange, self._stream
        self._exchange = None
        self._reader = None
        self._stream = None
        self._interim = 0
        if self._uploading:
            self._reusable = False
            self._stop_upload()
        if self.transport is not None:
            if self._reusable:
                self._on_free(self)
            else:
                self.transport.close()
        if exchange is not None:
            exchange.connection = None
            exchange.stream = None
            if stream is not None and not stream.ended:
                stream.finish()
            exchange.end()

    def _break(self, error: UpstreamError) -> None:
        """The answer will not be complete."""
        exchange = self._exchange
        self._reader = None
        self._stream = None
        self.drop()
        if exchange is not None:
            exchange.fail(error)
