"""ResponseWriter: puts one answer after the other on a client's connection.

Whatever can be sent in one piece is one write. A body that comes from another connection is handed over chunk by chunk
as that connection reads it; only bodies made in Python are awaited, in their handler's own task.

Invariants: an answer is complete exactly once (``ServerConnection.response_complete``); a body that breaks off or
misses its Content-Length aborts the connection, so that a short body never looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

from moorings.http.body import BodyStream, OwnedBody
from moorings.http.deadline import Deadline
from moorings.http.grammar import Framing
from moorings.http.headers import Headers
from moorings.http.message import stream_of
from moorings.http.request_head import RequestFields
from moorings.http.response import Response
from moorings.http.response_head import with_connection, without_chunked
from moorings.http.serialize import declared_length, field_lines, framing_line, status_line, trailer_block
from moorings.http.trailers import following
from moorings.http.upgrade import UpgradeResponse

if TYPE_CHECKING:
    from moorings.http.server import HttpServer
    from moorings.http.server_connection import ServerConnection

_HIGH_WATER = 16 * 1024  # bytes that wait for a slow client before their source is paused
_JOIN = 64 * 1024  # head and body are joined into one write up to this size


class ResponseWriter:
    """The writing half of a ServerConnection; a Sink for bodies from other connections."""

    __slots__ = (
        "_connection",
        "_http11",
        "_left",
        "_length",
        "_no_body",
        "_pumping",
        "_server",
        "_stall",
        "_stream",
        "_transport",
        "_unsent",
        "_waiter",
        "keep_alive",
        "paused",
        "started",
    )

    def __init__(self, connection: ServerConnection, transport: asyncio.Transport, server: HttpServer) -> None:
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._connection = connection
        self._transport = transport
        self._server = server
        self._http11 = True
        self._no_body = False  # the request was HEAD
        self._length: int = 0
        self._left = 0
        self._stream: BodyStream | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._stall: Deadline | None = None  # for clients that don't take their answer
        self._unsent = 0
        self._pumping: asyncio.Task[object] | None = None
        self.keep_alive = True
        self.paused = False
        self.started = False

    def begin(self, method: str, fields: RequestFields) -> None:
        """A request has arrived; the next answer is for it."""
        self._no_body = method == "HEAD"
        self._http11 = fields.minor == 1
        if not fields.keep_alive:
            self.keep_alive = False
        self.started = False

    def begin_error(self) -> None:
        """The next answer is for bytes that are no request; it is the last one."""
        self._no_body = False
        self._http11 = True
        self.keep_alive = False
        self.started = False

    def refuse(self, status: int) -> None:
        """Write a bare answer, for when there is nothing better."""
        self._transport.write(
            status_line(status) + self._server.date_line() + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )

    def send(self, response: Response) -> Coroutine[Any, Any, None] | None:
        """Write an answer; returns what remains to be awaited, if its body is made in Python."""
        self.started = True
        connection = self._connection
        if connection.unread_body:
            self.keep_alive = False
        head = response.head
        headers = response._headers
        if head is not None and response.status == head.status and (headers is None or not headers.changed):
            message = response._message
            if message is not None and self.keep_alive and self._http11 and not self._no_body:
                forward = head.forward
                self._transport.write(message if forward is head.data else forward + message[head.size :])
                connection.response_complete()
                return None
            if response.status != 101:
                return self._send_received(response)
        if isinstance(response, UpgradeResponse):
            connection.switch_protocols(response)
            return None
        return self._send_made(response)

    # --- heads

    def _send_received(self, response: Response) -> Coroutine[Any, Any, None] | None:
        """An answer from an upstream whose head nobody changed."""
        head = response.head
        assert head is not None
        body = response._take()
        raw = head.forward
        length = head.length
        if head.bodyless or self._no_body:
            raw, length = (without_chunked(raw), 0) if length < 0 else (raw, 0)
        elif length < 0:
            length = Framing.CHUNKED
            if not self._http11:
                raw = without_chunked(raw)
                length = Framing.UNTIL_CLOSE
                self.keep_alive = False
        return self._send_body(response, self._with_persistence(raw), body, length)

    def _send_made(self, response: Response) -> Coroutine[Any, Any, None] | None:
        """An answer made in Python, or one whose fields were changed there."""
        status = response.status
        body = response._take()
        headers = response.headers
        bodyless = status in (204, 304)
        try:
            declared = declared_length(headers)
        except ValueError as error:
            self._server.report("a response", error)
            declared = None
        if bodyless and body is not None:  # the status was set afterwards
            discard(response)
            body = declared = None
        if isinstance(body, bytes):
            length = len(body)
        elif body is not None:
            stream = stream_of(body)
            if stream is not None and stream.length >= 0:
                declared = stream.length
            length = declared if declared is not None else self._unknown_length()
        else:
            length = 0
        if "close" in headers.get("connection", "").lower():
            self.keep_alive = False
        lines = [status_line(status), *field_lines(headers)]
        if body is None and (bodyless or self._no_body):
            if declared is not None:
                lines.append(framing_line(declared))
            elif self._no_body and not bodyless:
                lines.append(framing_line(0) if response.head is None else b"")
        elif not bodyless:
            lines.append(framing_line(length))
        if "date" not in headers:
            lines.append(self._server.date_line())
        lines.append(b"\r\n")
        return self._send_body(response, self._with_persistence(b"".join(lines)), body, length)

    def _unknown_length(self) -> int:
        if self._http11:
            return Framing.CHUNKED
        self.keep_alive = False
        return Framing.UNTIL_CLOSE

    def _with_persistence(self, head: bytes) -> bytes:
        if not self.keep_alive:
            return with_connection(head, b"close")
        if not self._http11:
            return with_connection(head, b"keep-alive")
        return head

    # --- bodies

    def _send_body(
        self,
        response: Response,
        head: bytes,
        body: bytes | BodyStream | OwnedBody | AsyncIterator[bytes] | None,
        length: int,
    ) -> Coroutine[Any, Any, None] | None:
        transport = self._transport
        if self._no_body or response.status in (204, 304) or body is None:
            if body is not None and not isinstance(body, bytes):
                discard(response)
            transport.write(head)
            self._connection.response_complete()
            return None
        if isinstance(body, bytes):
            if len(body) <= _JOIN:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
            self._connection.response_complete()
            return None
        self._length = length
        self._left = max(0, length)
        transport.write(head)
        if isinstance(body, (BodyStream, OwnedBody)):
            stream = body.release() if isinstance(body, OwnedBody) else body
            if not stream.used:
                self._stream = stream
                stream.attach(self)
                return None
        return self._pump(body)

    async def _pump(self, body: AsyncIterator[bytes]) -> None:
        """Send a body made in Python, at the speed the client takes it; it is cancelled when the client goes away."""
        self._pumping = asyncio.current_task()
        try:
            async for chunk in body:
                if self._transport.is_closing():
                    break
                if chunk:
                    self._write_chunk(chunk)
                if self.paused:
                    await self._drained()
        except Exception as error:  # noqa: BLE001  # whatever the body raises breaks the answer off
            self._server.report("a response body", error)
            self._connection.abort()
            return
        except asyncio.CancelledError:
            if self._pumping is None:  # by ``lost``
                return
            self._connection.abort()
            raise
        finally:
            self._pumping = None
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if not self._transport.is_closing():
            self.body_end(following(body))

    async def _drained(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _write_chunk(self, chunk: bytes) -> None:
        transport = self._transport
        if self._length == Framing.CHUNKED:
            size = b"%x\r\n" % len(chunk)
            if len(chunk) <= _JOIN:
                transport.write(b"".join((size, chunk, b"\r\n")))
            else:
                transport.writelines((size, chunk, b"\r\n"))
        else:
            if self._length >= 0:
                self._left -= len(chunk)
                if self._left < 0:
                    self._connection.abort()
                    return
            transport.write(chunk)

    # --- Sink

    def body_chunk(self, chunk: bytes) -> None:
        if not self._transport.is_closing():  # else the client has just gone, and uvloop's TLS would log each write
            self._write_chunk(chunk)

    def body_end(self, trailers: Headers | None) -> None:
        self._stream = None
        if self._left > 0:
            self._connection.abort()
        elif self._length == Framing.CHUNKED:
            self._transport.write(trailer_block(trailers))
        self._connection.response_complete()

    def body_error(self, error: BaseException) -> None:
        self._stream = None
        self._connection.abort()

    # --- flow

    def pause(self) -> None:
        """The client doesn't take what was written."""
        self.paused = True
        if self._stall is None:
            self._stall = Deadline(self._server.clock, self._stalled)
        self._unsent = self._transport.get_write_buffer_size()
        self._stall.set(self._server.limits.body_timeout)
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        """The client has taken most of it."""
        self.paused = False
        if self._stall is not None:
            self._stall.at = None
        if self._stream is not None:
            self._stream.resume()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _stalled(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self._connection.abort()
        elif self._stall is not None:  # slow, but alive
            self._unsent = unsent
            self._stall.set(self._server.limits.body_timeout)

    def lost(self) -> None:
        """The connection has gone."""
        if self._stall is not None:
            self._stall.stop()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self.resume()
        pumping, self._pumping = self._pumping, None
        if pumping is not None:
            pumping.cancel()


def discard(response: Response) -> None:
    """Close the body of a response that nobody wants, or what is behind a 101."""
    if isinstance(response, UpgradeResponse):
        response.discard()
    body = response._body
    if isinstance(body, OwnedBody):
        body = body.stream
    if isinstance(body, BodyStream):
        body.close()
