"""ServerConnection: one client's connection, from its bytes to requests and back.

One request at a time is in progress (``busy``); the next ones wait as bytes, at most ``_HOLD`` of them, then reading stops.
A connection that got a malformed message never looks at another byte of it: it answers, half-closes, reads until the
client has closed or ``Limits.linger`` is over, and closes (RFC 9112, 9.6).

A client that closes its sending side counts as gone (as in nginx and Go): its request's signal is set at once.
"""

from __future__ import annotations

import asyncio
import re
from enum import Enum
from typing import TYPE_CHECKING, cast

from moorings.clock import TimerHandle
from moorings.errors import (
    BadRequest,
    ClientDisconnected,
    ContentTooLarge,
    HeaderFieldsTooLarge,
    MooringsError,
    NotImplementedByServer,
    RequestTimeout,
    WorkerError,
)
from moorings.http.body import BodyStream
from moorings.http.framing import BodyReader, ChunkedReader, FixedReader
from moorings.http.grammar import Framing
from moorings.http.request import Request, Wire
from moorings.http.request_head import (
    RequestFields,
    check_authority,
    request_fields,
    request_line,
    wants_upgrade,
)
from moorings.http.response import Response
from moorings.http.response_writer import ResponseWriter, discard
from moorings.http.signal import AbortSignal

if TYPE_CHECKING:
    from moorings.http.server import HttpServer

_HOLD = 64 * 1024  # bytes of pipelined requests kept while one is in progress
_LONE = re.compile(rb"(?<!\r)\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class _State(Enum):
    HEAD = "head"  # waiting for a request head
    BUSY = "busy"  # a request is in progress
    LINGER = "linger"  # answered and half-closed; what comes is dropped
    CLOSED = "closed"


class ServerConnection(asyncio.Protocol):
    """The server's side of a connection. Made by HttpServer; driven by its transport."""

    __slots__ = (
        "_body",
        "_clock",
        "_deadline",
        "_expecting",
        "_fields",
        "_gone",
        "_held",
        "_limits",
        "_loop",
        "_partial",
        "_reader",
        "_reading_paused",
        "_request",
        "_server",
        "_state",
        "_timer",
        "_timer_at",
        "_unread",
        "_wire",
        "_writer",
        "task",
        "transport",
    )

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._limits = server.limits
        self._clock = server.clock
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None  # the handler of the request in progress
        self._state = _State.HEAD
        self._fields: RequestFields | None = None  # the last request's; clients repeat them
        self._partial: bytearray | None = None  # an incomplete head
        self._held: list[bytes] = []  # bytes of later requests
        self._request: Request | None = None
        self._body: BodyStream | None = None  # the request's, while it arrives
        self._reader: BodyReader | None = None
        self._unread = 0  # bytes of a body dropped after its answer
        self._expecting = False  # the client waits for 100 Continue
        self._reading_paused = False
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline: float | None = None
        self._gone: asyncio.Future[None] | None = None

    # --- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        host, port = (peer[0].removeprefix("::ffff:"), peer[1]) if isinstance(peer, tuple) else ("127.0.0.1", 0)
        scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self._wire = Wire((host, port), scheme, server.trusts(host))
        self._writer = ResponseWriter(self, self.transport, server)
        server.connections.add(self)
        limit = self._limits.connections
        if server.draining or (limit is not None and len(server.connections) > limit):
            self._writer.refuse(503)
            self._linger()
            return
        self._set_deadline(self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _State.CLOSED
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._server.connections.discard(self)
        self._client_gone()
        self._writer.lost()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if self._server.draining:
            self._server.request_ended()

    def eof_received(self) -> bool:
        if self._state is _State.BUSY:
            self._client_gone()
            self.abort()
        return False

    def pause_writing(self) -> None:
        self._writer.pause()
        self._set_deadline(self._limits.body_timeout)

    def resume_writing(self) -> None:
        self._writer.resume()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _State.HEAD:
            self._head_received(data)
        elif state is _State.BUSY:
            if self._reader is not None:
                self._body_received(data)
            else:
                self._hold(data)

    # --- heads

    def _head_received(self, data: bytes) -> None:
        partial = self._partial
        if partial is not None:
            scanned = max(0, len(partial) - 3)
            partial += data
            end = partial.find(b"\r\n\r\n", scanned)
            if end < 0:
                self._check_partial(partial)
                return
            data = bytes(partial)
            self._partial = None
        try:
            self._parse(data)
        except MooringsError as error:
            self._refuse(error)

    def _parse(self, data: bytes) -> None:
        eol = data.find(b"\r\n")
        fields = self._fields
        if fields is not None and eol > 0 and data.startswith(fields.raw, eol):
            end = eol + len(fields.raw)
            method, target, minor = request_line(data)
            known = minor == fields.minor
        else:
            if eol == 0:  # one empty line before a request is allowed (RFC 9112, 2.2)
                data = data[2:]
                if not data:
                    return
                if data.startswith(b"\r\n"):
                    raise BadRequest("a request begins with empty lines")
                eol = data.find(b"\r\n")
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._partial = bytearray(data)
                self._set_deadline(self._limits.header_timeout)
                self._check_partial(self._partial)
                return
            method, target, minor = request_line(data)
            known = False
        if end > self._limits.head:
            raise HeaderFieldsTooLarge("the request head is too large")
        if not known or fields is None:
            head = data if end == len(data) else data[:end]
            fields = request_fields(head, eol, minor, self._limits.headers)
            if not fields.plain and wants_upgrade(fields) is not None:
                raise NotImplementedByServer("upgrades are not implemented here")
            self._fields = fields
        if target[0] != 47:
            check_authority(target, fields)
        self._begin(method, target, fields, data, end)

    def _check_partial(self, partial: bytearray) -> None:
        """Refuse at once what can't become a good head any more."""
        error: MooringsError | None = None
        if len(partial) > self._limits.head:
            error = HeaderFieldsTooLarge("the request head is too large")
        elif _LONE.search(partial) is not None:
            error = BadRequest("the head has a control byte, or a CR or LF on its own")
        if error is not None:
            self._refuse(error)

    def _begin(self, method: str, target: bytes, fields: RequestFields, data: bytes, end: int) -> None:
        """A good head has arrived; what follows it in ``data`` is its body, then later requests."""
        length = fields.length
        body: bytes | BodyStream | None = None
        size = len(data)
        if length == 0:
            if size != end:
                self._held.append(data[end:])
        else:
            limit = self._limits.body
            if limit is not None and length > limit:
                raise ContentTooLarge(f"the request body is over {limit} bytes")
            if 0 < length <= size - end:
                body = data[end : end + length]
                if size - end > length:
                    self._held.append(data[end + length :])
            else:
                body = self._begin_body(fields, length)
        self._deadline = None
        self._writer.begin(method, fields)
        if self._reader is not None and size != end:
            self._take_body(data[end:])
        self._state = _State.BUSY
        request = self._request = Request.from_wire(method, target, fields, self._wire, body)
        self.task = asyncio.Task(self._run(request), loop=self._loop, name="moorings-request")

    async def _run(self, request: Request) -> None:
        server = self._server
        try:
            response = await server.handler(request)
            if not isinstance(response, Response):
                raise WorkerError(f"the handler returned {type(response).__name__}, not a Response")
        except BaseException as error:  # noqa: BLE001  # whatever a handler raises becomes an answer
            if server.closed or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                self._forget()
                raise
            if self._request is not request:
                if not isinstance(error, ClientDisconnected):
                    server.report("a request whose client had gone", error)
                self._forget()
                return
            response = self._error_response(request, error)
        if self._request is not request:
            discard(response)
            self._forget()
            return
        pending = self._writer.send(response)
        if pending is not None:
            try:
                await pending
            finally:
                self._forget()

    # --- bodies

    def _begin_body(self, fields: RequestFields, length: int) -> BodyStream:
        if length == Framing.CHUNKED:
            limit = self._limits.body
            self._reader = ChunkedReader(limit=limit, max_trailers=self._limits.headers)
        else:
            self._reader = FixedReader(length)
        self._expecting = fields.expects_continue
        body = self._body = BodyStream(self, length)
        return body

    def _body_received(self, data: bytes) -> None:
        try:
            complete = self._take_body(data)
        except MooringsError as error:
            self._body_failed(error)
            return
        if self._request is None:
            if complete:
                self._next()
                return
            self._unread += len(data)
            if self._unread > self._limits.unread_body:
                self._linger()

    def _take_body(self, data: bytes) -> bool:
        """Give what arrived to the body's reader; whether the body is complete. Raises what the reader raises."""
        reader, body = self._reader, self._body
        if reader is None or body is None:
            return True
        self._expecting = False
        rest = reader.take(data, body)
        if rest is None:
            self._set_deadline(self._limits.body_timeout)
            return False
        self._reader = None
        self._body = None
        self._deadline = None
        if rest:
            self._hold(rest)
        return True

    def _body_failed(self, error: MooringsError) -> None:
        """The rest of the body can't be read: its reader gets the error, and this is the connection's last answer."""
        body = self._body
        self._reader = None
        self._body = None
        self._writer.keep_alive = False
        if self.transport is not None:
            self.transport.pause_reading()
            self._reading_paused = True
        if body is not None:
            body.fail(error)
        if self._request is None:
            self._linger()

    def body_wanted(self) -> None:
        """Source: somebody starts to read the request body."""
        if self._expecting and self.transport is not None:
            self._expecting = False
            if not self._writer.started:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._body is not None:
            self._set_deadline(self._limits.body_timeout)

    def pause_body(self) -> None:
        self._deadline = None
        self._pause_reading()

    def resume_body(self) -> None:
        self._resume_reading()
        if self._reader is not None:
            self._set_deadline(self._limits.body_timeout)

    def body_dropped(self) -> None:
        """Source: what is left unread is dealt with when the answer is complete."""

    @property
    def unread_body(self) -> bool:
        """Whether more of the request body is to come than is read for nobody's sake."""
        reader = self._reader
        return reader is not None and (self._expecting or reader.remaining > self._limits.unread_body)

    # --- the end of a request

    def response_complete(self) -> None:
        """The writer has written the answer's last byte."""
        self._request = None
        self.task = None
        if not self._writer.keep_alive or self.transport is None or self.transport.is_closing():
            self._close()
        elif self._reader is not None:
            self._drop_body()
        else:
            self._next()
        if self._server.draining:
            self._server.request_ended()

    def _drop_body(self) -> None:
        if self.unread_body:
            self._linger()
            return
        self._unread = 0
        if self._body is not None:
            self._body.detach()
        self._set_deadline(self._limits.body_timeout)

    def _next(self) -> None:
        self._state = _State.HEAD
        if self._server.draining:
            self._close()
            return
        self._set_deadline(self._limits.idle_timeout)
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._head_received(data)
        if self._reading_paused and not self._held:
            self._resume_reading()

    def _hold(self, data: bytes) -> None:
        if not self._writer.keep_alive:
            return  # nothing after the last request of a connection is looked at
        self._held.append(data)
        if sum(map(len, self._held)) >= _HOLD:
            self._pause_reading()

    def _refuse(self, error: MooringsError) -> None:
        """Answer a malformed request; its connection ends here."""
        self._held.clear()
        self._partial = None
        self._reader = None
        self._body = None
        self._writer.begin_error()
        self._state = _State.BUSY
        response = self._error_response(None, error)
        pending = self._writer.send(response)
        if pending is not None:
            pending.close()
            self._writer.refuse(error.status)
            self._linger()

    def _error_response(self, request: Request | None, error: BaseException) -> Response:
        try:
            return self._server.on_error(request, error)
        except Exception as failure:  # noqa: BLE001  # the last resort must answer
            self._server.report("the error handler", failure)
            return Response(status=500)

    def _client_gone(self) -> None:
        request, self._request = self._request, None
        task = self.task
        if task is not None and not task.done():
            self._server.orphans.add(task)
        body, self._body = self._body, None
        self._reader = None
        if request is not None:
            if request._signal is None:
                request._signal = AbortSignal()
            request._signal.fire()
        if body is not None:
            body.fail(ClientDisconnected("the client went away before its request was complete"))

    def _forget(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._server.orphans.discard(cast("asyncio.Task[None]", task))
        if self._server.draining:
            self._server.request_ended()

    # --- closing

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""
        return self._request is not None

    def close_if_idle(self) -> None:
        """For draining: close where nothing is in progress; the request in progress is the last one."""
        self._writer.keep_alive = False
        if self._state is _State.HEAD:
            self._close()

    def abort(self) -> None:
        """Drop the connection, so that the client can't take what it got for the whole."""
        if self.transport is not None:
            self.transport.abort()

    def gone(self) -> asyncio.Future[None]:
        """Done once the connection is closed."""
        if self._gone is None:
            self._gone = self._loop.create_future()
        return self._gone

    def _close(self) -> None:
        if self._reader is not None or self._reading_paused or self._held:
            self._linger()
            return
        self._state = _State.CLOSED
        if self.transport is not None:
            self.transport.close()

    def _linger(self) -> None:
        """Half-close, so that unread bytes don't reset the connection before the client has read the answer."""
        transport = self.transport
        self._state = _State.LINGER
        self._reader = None
        self._body = None
        self._held.clear()
        if transport is None or transport.is_closing():
            return
        if not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._resume_reading()
        self._set_deadline(self._limits.linger)

    # --- flow and time

    def _pause_reading(self) -> None:
        if not self._reading_paused and self.transport is not None and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and self.transport is not None and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def _set_deadline(self, seconds: float) -> None:
        deadline = self._deadline = self._clock.monotonic() + seconds
        if self._timer is not None:
            if self._timer_at <= deadline:
                return  # looks again when it fires
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._clock.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        deadline = self._deadline
        if deadline is None or self.transport is None:
            return
        left = deadline - self._clock.monotonic()
        if left > 0.001:
            self._timer_at = deadline
            self._timer = self._clock.call_later(left, self._tick)
            return
        self._deadline = None
        self._expired()

    def _expired(self) -> None:
        if self._state is _State.HEAD:
            if self._partial is not None:
                self._refuse(RequestTimeout("the request head did not arrive in time"))
            else:
                self._close()
        elif self._state is _State.BUSY and not self._writer.paused:
            if self._reader is not None:
                self._body_failed(RequestTimeout("the request body did not arrive in time"))
        else:
            self.abort()
