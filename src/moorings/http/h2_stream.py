"""H2ServerStream: one request on an HTTP/2 connection, and its answer.

The request runs in a task of its own, by the handler that HTTP/1.1 requests run by, and its bodies pass the same way:
``BodyStream`` in, Sink out. Flow control is end to end: the client may send as much as its stream's window says, which
opens as the body is taken; of an answer, ``_HIGH_WATER`` bytes wait here, then its source is paused.

Invariants: an answer is complete exactly once, or its stream is reset: a body that breaks off or misses its
Content-Length never looks whole. A stream that is gone (``closed``) sends nothing more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from h2.errors import ErrorCodes

from moorings.errors import (
    BodyUsed,
    ClientDisconnected,
    ContentTooLarge,
    DeadlineExceeded,
    MooringsError,
    RequestTimeout,
    WorkerError,
)
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.h2_fields import Head, response_fields, trailer_fields
from moorings.http.h2_protocol import STREAM_WINDOW
from moorings.http.headers import Headers
from moorings.http.message import stream_of
from moorings.http.request import Request, Wire
from moorings.http.response import Response
from moorings.http.response_writer import discard
from moorings.http.serialize import status_digits
from moorings.http.trailers import following
from moorings.http.upgrade import UpgradeResponse

if TYPE_CHECKING:
    from moorings.http.h2_connection import H2ServerConnection

_HIGH_WATER: Final = 64 * 1024  # bytes of an answer that wait for the client
_TURN: Final = 64 * 1024  # bytes of an answer that are sent before the next stream's turn
_FRAME: Final = 16 * 1024  # bytes of a DATA frame at most


class H2ServerStream:
    """One exchange; Source of its request's body, Sink of its answer's."""

    __slots__ = (
        "_body",
        "_connection",
        "_ending",
        "_expecting",
        "_held_back",
        "_left",
        "_out",
        "_out_size",
        "_pumping",
        "_received",
        "_stream",
        "_taking",
        "_trailers",
        "_waiter",
        "closed",
        "due_in",
        "due_out",
        "id",
        "opened_at",
        "remote_ended",
        "request",
        "started",
        "task",
    )

    def __init__(self, connection: H2ServerConnection, stream_id: int, now: float) -> None:
        self._connection = connection
        self.id = stream_id
        self.opened_at = now
        self.request: Request | None = None
        self.task: asyncio.Task[None] | None = None
        self.closed = False
        # the request's body
        self.remote_ended = False
        self.due_in: float | None = None  # when the next piece of it must have come
        self._body: BodyStream | None = None
        self._received = 0
        self._held_back = 0  # bytes that the window was not opened for yet
        self._taking = True  # its reader keeps up
        self._expecting = False  # the client waits for 100 Continue
        # the answer
        self.started = False
        self.due_out: float | None = None  # when the client must have taken the next piece of it
        self._stream: BodyStream | None = None
        self._pumping: asyncio.Task[object] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._out: deque[bytes | memoryview] = deque()
        self._out_size = 0
        self._left = -1  # of a known length
        self._ending = False  # nothing comes after what waits
        self._trailers: Headers | None = None

    # --- the request

    def begin(self, head: Head, wire: Wire, *, ended: bool) -> None:
        """Its head has arrived: run it. Raises ContentTooLarge."""
        fields = head.fields
        limit = self._connection.limits.body
        if limit is not None and fields.length > limit:
            raise ContentTooLarge(f"the request body is over {limit} bytes")
        body = None
        if ended:
            self.remote_ended = True
        elif fields.length != 0:
            body = self._body = BodyStream(self, fields.length)
            self._expecting = fields.expects_continue
            self._await_body()
        request = self.request = Request.from_wire(head.method, head.target, fields, wire, body)
        self._start(self._run(request))

    def refuse(self, error: MooringsError) -> None:
        """Answer what is no request that could be run."""
        self._start(self._answer(None, self._connection.server.error_response(None, error)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.Task(work, loop=self._connection.loop, name="moorings-request")

    async def _run(self, request: Request) -> None:
        server = self._connection.server
        try:
            response = await server.handler(request)
            if not isinstance(response, Response):
                raise WorkerError(f"the handler returned {type(response).__name__}, not a Response")
        except BaseException as error:  # whatever a handler raises becomes an answer
            if server.closed or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                self._forget()
                raise
            if self.closed:
                if not isinstance(error, ClientDisconnected | DeadlineExceeded):
                    server.report("a request whose client had gone", error)
                self._forget()
                return
            response = self._connection.server.error_response(request, error)
        await self._answer(request, response)

    async def _answer(self, request: Request | None, response: Response) -> None:
        if self.closed:
            discard(response)
            self._forget()
            return
        try:
            pending = self._send(request, response)
        except (BodyUsed, WorkerError) as error:
            if isinstance(error, WorkerError):
                discard(response)
            pending = self._send(request, self._connection.server.error_response(request, error))
        except Exception as error:  # noqa: BLE001  # whatever can't be sent must not leave the stream open
            self._connection.server.report("a response", error)
            self.reset(ErrorCodes.INTERNAL_ERROR)
            self._forget()
            return
        if pending is not None:
            try:
                await pending
            finally:
                self._forget()

    def _forget(self) -> None:
        self._connection.task_ended(cast("asyncio.Task[None]", asyncio.current_task()))

    # --- the request's body

    def data(self, chunk: bytes, size: int) -> None:
        """A DATA frame has arrived; ``size`` of the window is taken by it."""
        body = self._body
        if body is None:
            return
        self._expecting = False
        self._received += len(chunk)
        limit = self._connection.limits.body
        if limit is not None and self._received > limit:
            self._fail_body(ContentTooLarge(f"the request body is over {limit} bytes"))
            return
        self._held_back += size
        if chunk:
            body.feed(chunk)
        if self._taking:
            self._await_body()
            self._open_window()

    def end(self, trailers: Headers | None = None) -> None:
        """The request is complete, or malformed: trailers hide from the library that the body misses its length."""
        self.remote_ended = True
        self.due_in = None
        body = self._body
        if body is not None and 0 <= body.length != self._received:
            self.reset(ErrorCodes.PROTOCOL_ERROR)
            return
        self._body = None
        if body is not None:
            body.finish(trailers)

    def _fail_body(self, error: MooringsError) -> None:
        self.due_in = None
        body, self._body = self._body, None
        if body is not None:
            body.fail(error)

    def _await_body(self) -> None:
        self.due_in = self._connection.due()

    def _open_window(self) -> None:
        if self._held_back >= STREAM_WINDOW // 2 and not self.closed and not self.remote_ended:
            size, self._held_back = self._held_back, 0
            self._connection.protocol.open_window(self.id, size)
            self._connection.flush_soon()

    def body_wanted(self) -> None:
        """Source: somebody starts to read the request body."""
        if self._expecting:
            self._expecting = False
            if not self.started and not self.closed:
                self._connection.protocol.send_headers(self.id, [(b":status", b"100")])
                self._connection.flush_soon()
            self._await_body()

    def pause_body(self) -> None:
        """Source: the reader is behind; the window stays as it is."""
        self._taking = False
        self.due_in = None

    def resume_body(self) -> None:
        """Source: the reader has caught up."""
        self._taking = True
        if self._body is not None:
            self._await_body()
            self._open_window()

    def body_dropped(self) -> None:
        """Source: nobody wants the rest; it ends with the answer."""
        self.due_in = None
        self._body = None

    # --- the answer

    def _send(self, request: Request | None, response: Response) -> Coroutine[Any, Any, None] | None:
        """Send an answer; returns what remains to be awaited, if its body is made in Python."""
        if isinstance(response, UpgradeResponse):
            response.discard()
            raise WorkerError("the handler returned a 101, and HTTP/2 has no upgrades")
        body = response._take()
        fields = response_fields(response)
        status = response.status
        bare = status in (204, 304) or (request is not None and request.method == "HEAD")
        made = response.head is None or (response._headers is not None and response._headers.changed)
        self.started = True
        self._left = -1
        if bare or body is None:
            if body is not None and not isinstance(body, bytes):
                discard(response)
            if made and not bare:
                fields = _with_length(fields, 0)
            elif made and isinstance(body, bytes):
                fields = _with_length(fields, len(body))
            self._send_head(status, fields, made=made, end=True)
            return None
        if isinstance(body, bytes):
            self._send_head(status, _with_length(fields, len(body)), made=made, end=not body)
            if body:
                self._queue(body)
                self._ending = True
            return None
        stream = stream_of(body)
        if stream is not None and stream.length >= 0:
            fields = _with_length(fields, stream.length)
            self._left = stream.length
        else:
            self._left = _declared(fields)
            if self._left < 0:
                fields = [field for field in fields if field[0] != b"content-length"]
        self._send_head(status, fields, made=made, end=False)
        if isinstance(body, (BodyStream, OwnedBody)):
            stream = body.release() if isinstance(body, OwnedBody) else body
            if not stream.used:
                self._stream = stream
                stream.attach(self)
                return None
        return self._pump(body)

    def _send_head(self, status: int, fields: list[tuple[bytes, bytes]], *, made: bool, end: bool) -> None:
        connection = self._connection
        fields.insert(0, (b":status", status_digits(status)))
        if made and not any(name == b"date" for name, _ in fields):
            fields.append((b"date", connection.date()))
        connection.protocol.send_headers(self.id, fields, end_stream=end)
        connection.flush_soon()
        if end:
            self._complete()

    async def _pump(self, body: AsyncIterator[bytes]) -> None:
        """Send a body made in Python, at the speed the client takes it; it is cancelled when the client goes away."""
        self._pumping = asyncio.current_task()
        try:
            async for chunk in body:
                if self.closed:
                    break
                if chunk:
                    # buffers are copied, for they may be used again; what is no buffer raises TypeError
                    self.body_chunk(chunk if type(chunk) is bytes else bytes(memoryview(chunk)))
                if self._out_size >= _HIGH_WATER:
                    await self._drained()
        except Exception as error:  # noqa: BLE001  # whatever the body raises breaks the answer off
            self._connection.server.report("a response body", error)
            self.reset(ErrorCodes.INTERNAL_ERROR)
            return
        except asyncio.CancelledError:
            if self._pumping is None:  # by ``gone``
                return
            self.reset(ErrorCodes.INTERNAL_ERROR)
            raise
        finally:
            self._pumping = None
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if not self.closed:
            self.body_end(following(body))

    async def _drained(self) -> None:
        waiter = self._waiter = self._connection.loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def body_chunk(self, chunk: bytes) -> None:
        """Sink: send it, as soon as the client lets us."""
        if self.closed:
            return
        if self._left >= 0:
            self._left -= len(chunk)
            if self._left < 0:
                self.reset(ErrorCodes.INTERNAL_ERROR)
                return
        self._queue(chunk)
        if self._out_size >= _HIGH_WATER and self._stream is not None:
            self._stream.pause()

    def body_end(self, trailers: Headers | None) -> None:
        """Sink: that was all."""
        self._stream = None
        if self.closed:
            return
        if self._left > 0:
            self.reset(ErrorCodes.INTERNAL_ERROR)
            return
        self._ending = True
        self._trailers = trailers
        self._connection.wants_turn(self)

    def body_error(self, error: BaseException) -> None:
        """Sink: it breaks off."""
        self._stream = None
        self.reset(ErrorCodes.INTERNAL_ERROR)

    def _queue(self, chunk: bytes) -> None:
        if self._out_size == 0:
            self.due_out = self._connection.due()
        self._out.append(memoryview(chunk) if len(chunk) > _FRAME else chunk)
        self._out_size += len(chunk)
        self._connection.wants_turn(self)

    def turn(self) -> bool:
        """Send what the windows and the connection take, a turn's worth at most; whether anything was sent."""
        connection = self._connection
        protocol = connection.protocol
        out = self._out
        sent = 0
        while out and sent < _TURN and not connection.paused:
            room = min(protocol.local_flow_control_window(self.id), protocol.max_outbound_frame_size, _FRAME)
            if room <= 0:
                break
            chunk = out[0]
            size = len(chunk)
            if size > room:
                out[0] = chunk[room:]
                chunk, size = chunk[:room], room
            else:
                out.popleft()
            sent += size
            self._out_size -= size
            end = self._ending and not out and not self._trailers
            protocol.send_data(self.id, chunk, end_stream=end)
            connection.wrote(size)
            if end:
                self._complete()
                return True
        if sent:
            self.due_out = connection.due() if out else None
        if not out:
            if self._ending:
                self._finish()
                return True
            self._catch_up()
        return sent > 0

    @property
    def waiting(self) -> bool:
        """Whether there is more to send."""
        return bool(self._out)

    def _catch_up(self) -> None:
        if self._stream is not None:
            self._stream.resume()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _finish(self) -> None:
        protocol = self._connection.protocol
        trailers = None if self._trailers is None else trailer_fields(self._trailers)
        if trailers:
            protocol.send_headers(self.id, trailers, end_stream=True)
        else:
            protocol.end_stream(self.id)
        self._complete()

    # --- the end

    def _complete(self) -> None:
        """The answer is sent. A client that still sends its request is told that nobody needs the rest."""
        connection = self._connection
        self.closed = True
        self.request = self.task = None
        self.due_in = self.due_out = None
        if not self.remote_ended:
            connection.protocol.end_stream_with(self.id, ErrorCodes.NO_ERROR)
        body, self._body = self._body, None
        if body is not None:
            body.detach()
        connection.stream_ended(self)

    def reset(self, code: ErrorCodes) -> None:
        """Break the exchange off."""
        if self.closed:
            return
        self._connection.protocol.end_stream_with(self.id, code)
        self._connection.flush_soon()
        self.gone()

    def gone(self) -> None:
        """The stream was reset, or its connection is lost."""
        if self.closed:
            return
        self.closed = True
        self.due_in = self.due_out = None
        self._out.clear()
        self._out_size = 0
        connection = self._connection
        request, self.request = self.request, None
        task, self.task = self.task, None
        if task is not None and not task.done():
            connection.orphaned(task)
        connection.stream_ended(self)
        if request is not None:
            request.signal.fire()
        body, self._body = self._body, None
        if body is not None:
            body.fail(ClientDisconnected("the client went away before its request was complete"))
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        pumping, self._pumping = self._pumping, None
        if pumping is not None:
            pumping.cancel()

    def expire(self, now: float) -> None:
        """Look at what is due."""
        if self.due_in is not None and self.due_in <= now:
            self._fail_body(RequestTimeout("the request body did not arrive in time"))
        if self.due_out is not None and self.due_out <= now:
            self.reset(ErrorCodes.CANCEL)


def _declared(fields: list[tuple[bytes, bytes]]) -> int:
    for name, value in fields:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return -1


def _with_length(fields: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    """The fields with this Content-Length (RFC 9110, 8.6), in place of whatever one they have."""
    fields = [field for field in fields if field[0] != b"content-length"]
    fields.append((b"content-length", b"%d" % length))
    return fields
