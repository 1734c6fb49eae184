"""H2ClientConnection: the platform's connection to a server that speaks HTTP/2, many exchanges at a time.

Frames and HPACK are the h2 library's; nothing here runs in a task. Everything that one call or one read makes is
written in one piece (``_flush``).

Invariants: an exchange that was started is told its end exactly once, by its stream, and no stream outlives its
connection; a server that takes nothing is answered (PING, SETTINGS, broken streams) with ``_UNTAKEN`` bytes at most.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import h2.events
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import NoAvailableStreamIDError, ProtocolError, StreamClosedError

from moorings.errors import ConnectFailed, UpstreamError
from moorings.http.client_connection import Dropped, Exchange
from moorings.http.h2_client.heads import Fields
from moorings.http.h2_client.protocol import CONNECTION_WINDOW, AnswerMalformed, ClientProtocol
from moorings.http.h2_client.stream import H2Stream, Refused, UpstreamReset
from moorings.http.h2_client.upload import TURN, Upload

MAX_STREAMS = 100
_SETTINGS = 4
_UNTAKEN = 256 * 1024  # bytes


class H2ClientConnection(asyncio.Protocol):
    """The client's side of a connection. ``ready`` is done once the server's SETTINGS are there.

    ``on_free(connection)`` is called when a stream has ended, ``on_lost(connection)`` when the connection has.
    """

    __slots__ = (
        "_blocked",
        "_consumed",
        "_corked",
        "_frames",
        "_heard",
        "_on_free",
        "_on_lost",
        "_streams",
        "_untaken",
        "_write_paused",
        "idle_since",
        "leaving",
        "limit",
        "loop",
        "ready",
        "transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[H2ClientConnection], None],
        on_lost: Callable[[H2ClientConnection], None],
    ) -> None:
        self.loop = loop
        self._on_free = on_free
        self._on_lost = on_lost
        self.transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.leaving = False  # no further exchange may begin here
        self.limit = MAX_STREAMS
        self.idle_since = 0.0
        self._frames = ClientProtocol()
        self._streams: dict[int, H2Stream] = {}
        self._blocked: dict[Upload, None] = {}  # uploads that wait for a window
        self._consumed = 0
        self._corked = False
        self._heard = b""
        self._untaken = 0  # bytes of answers to frames, written while the server takes nothing
        self._write_paused = False

    # --- exchanges

    @property
    def streams(self) -> int:
        """How many exchanges are under way."""
        return len(self._streams)

    @property
    def usable(self) -> bool:
        """Whether another exchange may begin here now."""
        transport = self.transport
        return (
            not self.leaving
            and transport is not None
            and not transport.is_closing()
            and len(self._streams) < self.limit
        )

    def start(self, exchange: Exchange, fields: Fields, upload: Upload | None) -> None:
        """Send a request; the exchange's future gets the answer."""
        if not self.usable:
            exchange.fail(Refused("the upstream closed the connection"))
            return
        frames = self._frames
        try:
            stream_id = frames.get_next_available_stream_id()
        except NoAvailableStreamIDError:
            self._leave()
            exchange.fail(Refused("the connection has carried all the exchanges it can"))
            return
        stream = self._streams[stream_id] = H2Stream(self, stream_id, exchange, upload)
        exchange.connection = stream
        self._corked = True
        try:
            frames.send_headers(stream_id, fields, end_stream=upload is None)
            if upload is not None:
                upload.begin(stream)
        finally:
            self._corked = False
        self._flush()

    def reset(self, stream: H2Stream, code: ErrorCodes) -> None:
        """Break a stream off; what still comes for it is dropped."""
        if self._streams.pop(stream.id, None) is None:
            return
        if stream.upload is not None:
            self._blocked.pop(stream.upload, None)
        if self.transport is not None:
            with contextlib.suppress(ProtocolError):  # it is closed already
                self._frames.reset_stream(stream.id, code)
            self._flush()
        self._freed()

    def abort(self) -> None:
        """Close at once; exchanges under way fail."""
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close as soon as no exchange is under way. Idempotent."""
        self._leave()

    def _leave(self) -> None:
        self.leaving = True
        transport = self.transport
        if self._streams or transport is None or transport.is_closing():
            return
        with contextlib.suppress(ProtocolError):  # it was closed by an error
            self._frames.close_connection()
        self._flush()
        transport.close()

    def _freed(self) -> None:
        """A stream has ended."""
        if self.leaving:
            self._leave()
        else:
            self._on_free(self)

    # --- what streams send

    def room(self, stream_id: int) -> int:
        """How many bytes a stream may send now, in one frame."""
        if self._write_paused or self.transport is None:
            return 0
        try:
            window = self._frames.local_flow_control_window(stream_id)
        except ProtocolError:
            return 0
        return min(window, self._frames.max_outbound_frame_size)

    def send_data(self, stream_id: int, data: bytes, *, last: bool) -> None:
        """Send a DATA frame, which there is room for."""
        try:
            self._frames.send_data(stream_id, data, end_stream=last)
        except StreamClosedError:  # a reset has been read, and its event comes next
            return
        self._flush()

    def send_end(self, stream_id: int, trailers: Fields | None) -> None:
        """End a stream's sending side."""
        try:
            if trailers is None:
                self._frames.end_stream(stream_id)
            else:
                self._frames.send_headers(stream_id, trailers, end_stream=True)
        except StreamClosedError:
            return
        self._flush()

    def open_window(self, stream_id: int, size: int) -> None:
        """Let the server send ``size`` bytes more."""
        try:
            self._frames.increment_flow_control_window(size, stream_id)
        except (ProtocolError, KeyError):  # the stream has ended
            return
        self._flush()

    def blocked(self, upload: Upload, waits: bool) -> None:
        """Note whether an upload waits for a window."""
        if waits:
            self._blocked[upload] = None
        else:
            self._blocked.pop(upload, None)

    def _flow(self) -> None:
        """Let the uploads that wait go on, each in its turn."""
        progress = True
        while progress and self._blocked and not self._write_paused:
            progress = False
            for upload in list(self._blocked):
                if upload in self._blocked:
                    del self._blocked[upload]
                    progress = upload.flow(TURN) or progress

    def _flush(self) -> int:
        """Write what is prepared; returns its size."""
        if self._corked or self.transport is None:
            return 0
        data = self._frames.data_to_send()
        if data:
            self.transport.write(data)
        return len(data)

    # --- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._frames.start()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.leaving = True
        if not self.ready.done():
            self.ready.set_exception(self._why_not_ready())
            self.ready.exception()  # nobody may be waiting any more
        streams = list(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        for stream in streams:
            if stream.answered:
                stream.failed(UpstreamError("the upstream closed the connection in the middle of its answer"))
            else:
                stream.failed(Dropped("the upstream closed the connection before it answered"))
        self._on_lost(self)

    def _why_not_ready(self) -> Exception:
        if self._heard.startswith(b"HTTP/1"):
            return UpstreamError("the container speaks HTTP/1.1 on this port, not HTTP/2")
        if self._heard:
            return UpstreamError("the container does not speak HTTP/2 on this port")
        return ConnectFailed("the container closed the connection at once")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._untaken = 0
        self._flow()

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            self._heard = (self._heard + data)[:9]
            if len(self._heard) > 3 and self._heard[3] != _SETTINGS:  # the first frame (RFC 9113, 3.4)
                self.abort()
                return
        self._corked = True
        try:
            for event in self._frames.receive_data(data):
                self._received(event)
            if self._consumed >= CONNECTION_WINDOW // 2:
                consumed, self._consumed = self._consumed, 0
                self._frames.increment_flow_control_window(consumed)
        except ProtocolError as error:
            self._corked = False
            self._broken(UpstreamError(f"the upstream broke HTTP/2: {error}"))
        finally:
            self._corked = False
        size = self._flush()
        if self._write_paused:
            self._untaken += size
            if self._untaken > _UNTAKEN:
                self.abort()

    # --- frames

    def _received(self, event: Event) -> None:
        kind = type(event)
        if kind is h2.events.WindowUpdated or kind is h2.events.RemoteSettingsChanged:
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self._settings()
            if self._blocked:
                self._flow()
            return
        if isinstance(event, h2.events.ConnectionTerminated):
            self._going_away(event)
            return
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        if isinstance(event, h2.events.DataReceived):
            self._consumed += event.flow_controlled_length or 0
            if stream is not None:
                try:
                    stream.data(event.data or b"", event.flow_controlled_length or 0)
                except UpstreamError as error:
                    self._failed(stream, error)
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            try:
                stream.head(event.headers or [], empty=event.stream_ended is not None)
            except UpstreamError as error:
                self._failed(stream, error)
        elif isinstance(event, h2.events.TrailersReceived):
            try:
                stream.trailers(event.headers or [])
            except UpstreamError as error:
                self._failed(stream, error)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended(stream)
        elif isinstance(event, AnswerMalformed):
            self._dropped(stream, UpstreamError(f"the upstream's answer is malformed: {event.reason}"))
        elif isinstance(event, h2.events.StreamReset):
            self._reset_by_peer(stream, int(event.error_code or 0))

    def _settings(self) -> None:
        self.limit = min(MAX_STREAMS, self._frames.remote_settings.max_concurrent_streams)
        if not self.ready.done():
            self.ready.set_result(None)
        self._on_free(self)

    def _ended(self, stream: H2Stream) -> None:
        self._streams.pop(stream.id, None)
        upload = stream.upload
        if upload is not None:
            self._blocked.pop(upload, None)
            if not upload.sent:  # what is left of the request isn't wanted
                with contextlib.suppress(ProtocolError):
                    self._frames.reset_stream(stream.id, ErrorCodes.CANCEL)
        stream.ended()
        self._freed()

    def _failed(self, stream: H2Stream, error: BaseException) -> None:
        self.reset(stream, ErrorCodes.PROTOCOL_ERROR)
        stream.failed(error)

    def _reset_by_peer(self, stream: H2Stream, code: int) -> None:
        if code == ErrorCodes.REFUSED_STREAM and not stream.answered:
            self._dropped(stream, Refused("the upstream refused the stream"))
        else:
            name = ErrorCodes(code).name if code in ErrorCodes.__members__.values() else hex(code)
            self._dropped(stream, UpstreamReset(f"the upstream reset the stream: {name}", code))

    def _dropped(self, stream: H2Stream, error: UpstreamError) -> None:
        """The stream has been reset, by either side."""
        self._streams.pop(stream.id, None)
        if stream.upload is not None:
            self._blocked.pop(stream.upload, None)
        stream.failed(error)
        self._freed()

    def _going_away(self, event: h2.events.ConnectionTerminated) -> None:
        last = event.last_stream_id or 0
        self.leaving = True
        for stream in [stream for stream_id, stream in self._streams.items() if stream_id > last]:
            self._streams.pop(stream.id)
            if stream.upload is not None:
                self._blocked.pop(stream.upload, None)
            stream.failed(Refused("the upstream is going away"))
        self._leave()

    def _broken(self, error: UpstreamError) -> None:
        """The connection is of no use any more."""
        self.leaving = True
        streams = list(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        self._flush()
        if self.transport is not None:
            self.transport.close()
        for stream in streams:
            stream.failed(error)
