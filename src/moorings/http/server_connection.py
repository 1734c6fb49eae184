"""ServerConnection: one client's connection, from its bytes to requests and back.

One request at a time is in progress (``busy``); the next ones wait as bytes, at most ``_HOLD`` of them, then reading
stops. A connection that got a malformed message never looks at another byte of it: it answers, half-closes, reads until
the client has closed or ``Limits.linger`` is over, and closes (RFC 9112, 9.6).

A client that closes its sending side counts as gone (as in nginx and Go): its request's signal is set at once.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

from moorings.errors import (
    BadRequest,
    BodyUsed,
    ClientDisconnected,
    ContentTooLarge,
    HeaderFieldsTooLarge,
    MooringsError,
    RequestTimeout,
    WorkerError,
)
from moorings.http.body import BodyStream
from moorings.http.framing import BodyReader, ChunkedReader, FixedReader
from moorings.http.grammar import Framing
from moorings.http.request import Request, Wire
from moorings.http.request_head import RequestFields, check_authority, request_fields, request_line
from moorings.http.response import Response
from moorings.http.response_writer import ResponseWriter, discard
from moorings.http.server_flow import Pause, ServerFlow, State
from moorings.http.upgrade import UpgradeResponse

if TYPE_CHECKING:
    from moorings.http.server import HttpServer

PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"  # what a client that speaks HTTP/2 begins with looks like a head
_HOLD = 64 * 1024  # bytes of pipelined requests kept while one is in progress
_LONE = re.compile(rb"(?<!\r)\n|\r[^\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class ServerConnection(ServerFlow):
    """The server's side of a connection. Made by HttpServer; driven by its transport."""

    __slots__ = (
        "_blank",
        "_body",
        "_expecting",
        "_fields",
        "_held",
        "_partial",
        "_reader",
        "_request",
        "_server",
        "_unread",
        "_wire",
        "_writer",
        "task",
    )

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, server.clock, server.limits)
        self._server = server
        self.task: asyncio.Task[None] | None = None  # the handler of the request in progress
        self._fields: RequestFields | None = None  # the last request's; clients repeat them
        self._blank = False  # an empty line has been skipped
        self._partial: bytearray | None = None  # an incomplete head
        self._held: list[bytes] = []  # bytes of later requests
        self._request: Request | None = None
        self._body: BodyStream | None = None  # the request's, while it arrives
        self._reader: BodyReader | None = None
        self._unread = 0  # bytes of a body dropped after its answer
        self._expecting = False  # the client waits for 100 Continue

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
        self._deadline.set(self._limits.header_timeout)
        if scheme == "https" and transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
            self._become_http2(b"")

    def _become_http2(self, data: bytes) -> None:
        """Hand the transport over: what is spoken on it is HTTP/2. ``data`` has arrived already."""
        from moorings.http.h2_connection import H2ServerConnection  # the library is loaded where a client speaks it

        transport = self.transport
        assert transport is not None
        self._server.connections.discard(self)
        self._closed()
        H2ServerConnection(self._server, self._loop, transport, self._wire).take_over(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._closed()
        self._client_gone()
        self._writer.lost()
        if self._server.draining:
            self._server.request_ended()

    def eof_received(self) -> bool:
        if self.state is State.BUSY:
            self._abandoned()
        return False

    def _abandoned(self) -> None:
        self._client_gone()
        self.abort()

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is State.HEAD:
            if self._partial is not None:
                self._more_of_head(data)
                return
            try:
                self._parse(data)
            except MooringsError as error:
                self._refuse_head(error, data)
        elif state is State.BUSY:
            if self._reader is not None:
                self._body_received(data)
            else:
                self._hold(data)

    # --- heads

    def _more_of_head(self, data: bytes) -> None:
        partial = self._partial
        if partial is None:
            return
        scanned = max(0, len(partial) - 3)
        partial += data
        try:
            if partial.find(b"\r\n\r\n", scanned) < 0:
                self._check_partial(partial, scanned)
                return
            self._partial = None
            self._parse(bytes(partial))
        except MooringsError as error:
            self._refuse_head(error, bytes(partial))

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
                if self._blank or data.startswith(b"\r\n"):
                    raise BadRequest("a request begins with empty lines")
                self._blank = True
                if not data:
                    return
                eol = data.find(b"\r\n")
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                self._partial = bytearray(data)
                self._deadline.set(self._limits.header_timeout)
                self._check_partial(self._partial, 0)
                return
            method, target, minor = request_line(data)
            known = False
        if end > self._limits.head:
            raise HeaderFieldsTooLarge("the request head is too large")
        if not known or fields is None:
            head = data if end == len(data) else data[:end]
            fields = request_fields(head, eol, minor, self._limits.headers, fields)
            self._fields = fields
        if target[0] != 47:
            check_authority(target, fields)
        self._begin(method, target, fields, data, end)

    def _check_partial(self, partial: bytearray, scanned: int) -> None:
        """Raise at once for what can't become a good head any more."""
        if len(partial) > self._limits.head:
            raise HeaderFieldsTooLarge("the request head is too large")
        if _LONE.search(partial, scanned) is not None:
            raise BadRequest("the head has a control byte, or a CR or LF on its own")

    def _refuse_head(self, error: MooringsError, data: bytes) -> None:
        """What begins a connection and is no HTTP/1.1 may be HTTP/2 (RFC 9113, 3.3); looked at last, for speed."""
        if self._fields is None and data.startswith(PREFACE_HEAD) and self.transport is not None:
            self._become_http2(data)
        else:
            self._refuse(error)

    def _begin(self, method: str, target: bytes, fields: RequestFields, data: bytes, end: int) -> None:
        """A good head has arrived; what follows it in ``data`` is its body, then later requests."""
        length = fields.length
        body: bytes | BodyStream | None = None
        size = len(data)
        self._writer.begin(method, fields)
        self._deadline.at = None
        self._blank = False
        if length == 0:
            if size != end:
                self._hold(data[end:])
        else:
            limit = self._limits.body
            if limit is not None and length > limit:
                raise ContentTooLarge(f"the request body is over {limit} bytes")
            if 0 < length <= size - end:
                body = data[end : end + length]
                if size - end > length:
                    self._hold(data[end + length :])
            else:
                body = self._begin_body(fields, length)
                if size != end:
                    self._take_body(data[end:])
        self.state = State.BUSY
        request = self._request = Request.from_wire(method, target, fields, self._wire, body)
        self.task = asyncio.Task(self._run(request), loop=self._loop, name="moorings-request")

    async def _run(self, request: Request) -> None:
        server = self._server
        try:
            response = await server.handler(request)
            if not isinstance(response, Response):
                raise WorkerError(f"the handler returned {type(response).__name__}, not a Response")
        except BaseException as error:  # whatever a handler raises becomes an answer
            if server.closed or isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                self._forget()
                raise
            if self._request is not request:
                if not isinstance(error, ClientDisconnected):
                    server.report("a request whose client had gone", error)
                self._forget()
                return
            response = self._server.error_response(request, error)
        if self._request is not request:
            discard(response)
            self._forget()
            return
        try:
            pending = self._writer.send(response)
        except (BodyUsed, WorkerError) as error:
            if isinstance(error, WorkerError):
                discard(response)
            pending = self._writer.send(server.error_response(request, error))
        except Exception as error:  # noqa: BLE001  # whatever can't be sent must not leave the client waiting
            server.report("a response", error)
            self.abort()
            return
        if pending is not None:
            try:
                await pending
            finally:
                self._forget()

    # --- bodies

    def _begin_body(self, fields: RequestFields, length: int) -> BodyStream:
        if length == Framing.CHUNKED:
            self._reader = ChunkedReader(limit=self._limits.body, max_trailers=self._limits.headers)
        else:
            self._reader = FixedReader(length)
        self._expecting = fields.expects_continue
        self._deadline.set(self._limits.body_timeout)
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
            if not self._pause & Pause.BODY:
                self._deadline.set(self._limits.body_timeout)
            return False
        self._reader = None
        self._body = None
        self._deadline.at = None
        if self._pause & Pause.BODY:
            self.resume_body()
        if rest:
            self._hold(rest)
        return True

    def _body_failed(self, error: MooringsError) -> None:
        """The rest of the body can't be read: its reader gets the error, and this is the connection's last answer."""
        body = self._body
        self._reader = None
        self._body = None
        self._writer.keep_alive = False
        self._pause_reading(Pause.BROKEN)
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
            self._deadline.set(self._limits.body_timeout)

    def pause_body(self) -> None:
        """Source: the reader is behind."""
        self._deadline.at = None
        self._pause_reading(Pause.BODY)

    def resume_body(self) -> None:
        """Source: the reader has caught up."""
        self._resume_reading(Pause.BODY)
        if self._reader is not None:
            self._deadline.set(self._limits.body_timeout)

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

    def switch_protocols(self, response: UpgradeResponse) -> None:
        """Answer with a 101: from here on the transport belongs to what is behind it.

        Raises WorkerError where the request did not ask for it, BodyUsed where the response was sent before.
        """
        request, transport = self._request, self.transport
        if request is None or transport is None or request.upgrade is None:
            response.discard()
            raise WorkerError("the handler returned a 101, and the request did not ask to switch protocols")
        if self._reader is not None:
            response.discard()
            raise WorkerError("the handler returned a 101 before the request's body had arrived")
        upgraded = self.upgraded = response.release()
        early = b"".join(self._held)
        self._held.clear()
        self._request = self._fields = self.task = None
        self.state = State.UPGRADED
        self._deadline.stop()
        paused = self._writer.paused
        self._writer.lost()
        self._resume_reading(self._pause)
        transport.write(response.head_bytes())
        upgraded.take_over(transport, early, self.connection_lost, clock=self._server.clock, paused=paused)
        if self._server.draining:
            self._server.request_ended()

    def _drop_body(self) -> None:
        if self.unread_body:
            self._linger()
            return
        self._unread = 0
        if self._body is not None:
            self._body.detach()
        self._deadline.set(self._limits.body_timeout)

    def _next(self) -> None:
        self.state = State.HEAD
        if self._server.draining:
            self._close()
            return
        self._deadline.set(self._limits.idle_timeout)
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held.clear()
            self._resume_reading(Pause.HELD)
            self.data_received(data)

    def _hold(self, data: bytes) -> None:
        if not self._writer.keep_alive and (self._fields is None or self._fields.upgrade is None):
            return  # nothing after the last request of a connection is looked at
        self._held.append(data)
        if sum(map(len, self._held)) >= _HOLD:
            self._pause_reading(Pause.HELD)

    def _refuse(self, error: MooringsError) -> None:
        """Answer what is no good request; the connection ends here."""
        self._held.clear()
        self._partial = None
        self._reader = None
        self._body = None
        self._pause_reading(Pause.BROKEN)
        self._writer.begin_error()
        self.state = State.BUSY
        pending = self._writer.send(self._server.error_response(None, error))
        if pending is not None:
            pending.close()
            self.abort()

    def _client_gone(self) -> None:
        request, self._request = self._request, None
        task = self.task
        if task is not None and not task.done():
            self._server.orphans.add(task)
        body, self._body = self._body, None
        self._reader = None
        if request is not None:
            request.signal.fire()
        if body is not None:
            body.fail(ClientDisconnected("the client went away before its request was complete"))

    def _forget(self) -> None:
        self._server.orphans.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if self._server.draining:
            self._server.request_ended()

    # --- closing

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""
        return self._request is not None

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The handler of the request in progress."""
        return [] if self.task is None else [self.task]

    def close_if_idle(self) -> None:
        """For draining: close where nothing is in progress; else the request in progress is the last one."""
        self._writer.keep_alive = False
        if self.state is State.HEAD and self._partial is None:
            self._close()

    def _drop_input(self) -> None:
        self._reader = None
        self._body = None
        self._held.clear()

    def _close(self) -> None:
        if self._reader is not None or self._pause or self._held:
            self._linger()
        else:
            self._shut()

    def _expired(self) -> None:
        if self.state is State.HEAD:
            if self._partial is not None:
                self._refuse(RequestTimeout("the request head did not arrive in time"))
            else:
                self._close()
        elif self.state is State.BUSY:
            if self._reader is not None:
                self._body_failed(RequestTimeout("the request body did not arrive in time"))
        else:
            self.abort()
