"""H2Stream: one exchange on an HTTP/2 connection to a server, and what its ends are called.

The answer's body is flow-controlled by its reader: what a reader that has paused doesn't take isn't acknowledged, so a
server can have one stream window on its way (``STREAM_WINDOW``), and other streams go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from moorings.errors import UpstreamError
from moorings.http.body import BodyStream, OwnedBody
from moorings.http.client_connection import Dropped, Exchange
from moorings.http.grammar import Framing
from moorings.http.h2_client.heads import Fields, received_head, received_trailers, trailer_fields
from moorings.http.h2_client.protocol import STREAM_WINDOW
from moorings.http.h2_client.upload import Upload
from moorings.http.headers import Headers
from moorings.http.response import Response

if TYPE_CHECKING:
    from moorings.http.h2_client.connection import H2ClientConnection


class Refused(Dropped):
    """The server says that it has done nothing with the request (RFC 9113, 8.7): it may be sent again."""


class UpstreamReset(UpstreamError):
    """The container broke the exchange off with RST_STREAM; ``http2_code`` is its error code (RFC 9113, 7)."""

    def __init__(self, message: str, http2_code: int) -> None:
        super().__init__(message)
        self.http2_code = http2_code


class H2Stream:
    """One exchange; the Source of its answer's body. Made by ``H2ClientConnection.start``."""

    __slots__ = (
        "_body",
        "_owed",
        "_paused",
        "_received",
        "_trailers",
        "answered",
        "connection",
        "exchange",
        "id",
        "upload",
    )

    def __init__(
        self, connection: H2ClientConnection, stream_id: int, exchange: Exchange, upload: Upload | None
    ) -> None:
        self.connection = connection
        self.id = stream_id
        self.exchange: Exchange | None = exchange
        self.upload = upload
        self.answered = False
        self._body: BodyStream | None = None
        self._trailers: Headers | None = None
        self._owed = 0  # bytes received that are not acknowledged
        self._paused = False
        self._received = 0

    # --- the request

    def room(self) -> int:
        """How many bytes may be sent now, in one frame."""
        return self.connection.room(self.id)

    def send_data(self, data: bytes, *, last: bool) -> None:
        """Send a piece of the body that there is room for."""
        self.connection.send_data(self.id, data, last=last)

    def send_end(self, trailers: Headers | None) -> None:
        """The body is complete."""
        self.connection.send_end(self.id, None if not trailers else trailer_fields(trailers))

    def drop(self) -> None:
        """Break it off: whoever has begun it wants no more. Idempotent."""
        self._leave()
        self.connection.reset(self, ErrorCodes.CANCEL)

    def _leave(self) -> Exchange | None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection = None
        if self.upload is not None:
            self.upload.pause()
        return exchange

    # --- the answer, as the connection reads it

    def head(self, fields: Fields, *, empty: bool) -> None:
        """The head of the answer. Raises UpstreamError where it is malformed."""
        exchange = self.exchange
        if exchange is None:
            return
        head = received_head(fields, empty=empty, head_request=exchange.head_request)
        self.answered = True
        if self.upload is not None:
            self.upload.head_seen()
        future, exchange.future = exchange.future, None
        if empty:
            response = Response.from_wire(head, None, None)
        else:
            length = 0 if exchange.head_request or head.bodyless else head.length
            body = self._body = exchange.stream = BodyStream(self, Framing.CHUNKED if length < 0 else length)
            response = Response.from_wire(head, None, OwnedBody(body))
        if future is not None and not future.done():
            future.set_result(response)

    def data(self, data: bytes, flow_controlled: int) -> None:
        """A piece of the answer's body. Raises UpstreamError where it is more than was announced."""
        self._owed += flow_controlled
        body = self._body
        if body is not None and data:
            self._received += len(data)
            if 0 <= body.length < self._received:
                raise UpstreamError(f"the upstream's answer goes on after its {body.length} bytes of body")
            body.feed(data)
        if not self._paused:
            self._acknowledge()

    def trailers(self, fields: Fields) -> None:
        """What follows the body. Raises UpstreamError where it is malformed."""
        self._trailers = received_trailers(fields)

    def ended(self) -> None:
        """The answer is complete."""
        body, self._body = self._body, None
        if body is not None and not body.ended and 0 <= body.length != self._received:
            self.failed(UpstreamError("the upstream's answer is shorter than its Content-Length"))
            return
        exchange = self._leave()
        if exchange is None:
            return
        exchange.stream = None
        if body is not None and not body.ended:
            body.finish(self._trailers)
        exchange.end()

    def failed(self, error: BaseException) -> None:
        """The answer will never be complete."""
        exchange = self._leave()
        if exchange is not None:
            exchange.fail(error)

    # --- Source

    def pause_body(self) -> None:
        self._paused = True

    def resume_body(self) -> None:
        self._paused = False
        self._acknowledge()

    def body_wanted(self) -> None:
        """Source: nothing to do."""

    def body_dropped(self) -> None:
        exchange = self._leave()
        self.connection.reset(self, ErrorCodes.CANCEL)
        if exchange is not None:
            exchange.stream = None
            exchange.end()

    def _acknowledge(self) -> None:
        if self._owed >= STREAM_WINDOW // 2 and self.exchange is not None:
            owed, self._owed = self._owed, 0
            self.connection.open_window(self.id, owed)
