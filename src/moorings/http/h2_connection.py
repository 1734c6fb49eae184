"""H2ServerConnection: one client's HTTP/2 connection (RFC 9113), from its bytes to streams and back.

It takes the transport over from a ServerConnection, which has seen the preface or was told so by ALPN. Frames are
h2's business (``h2_protocol``), an exchange its stream's (``h2_stream``). What streams have to send is sent in turns,
at most one turn of the connection per turn of the event loop: no frame has a task.

Invariants: ``streams`` are those whose answer isn't complete, at most ``Limits.streams`` together with handlers that
still run although their client reset them (CVE-2023-44487); others are refused, and may be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from moorings.errors import MooringsError
from moorings.http.deadline import Deadline
from moorings.http.h2_fields import Malformed, RequestHeads, trailers_of
from moorings.http.h2_floods import Allowance
from moorings.http.h2_protocol import CONNECTION_WINDOW, ServerProtocol
from moorings.http.h2_stream import H2ServerStream
from moorings.http.request import Wire
from moorings.http.server_flow import ServerFlow, State

if TYPE_CHECKING:
    from moorings.http.server import HttpServer

_EVERY_STREAM = 2**31 - 1
_FLUSH = 128 * 1024  # bytes prepared before they are written
_UNREAD = 1024 * 1024  # bytes that a client may leave unread although we don't send bodies
_RAPID = 0.1  # seconds; the reset of an older stream is free: there are no more of those than ``Limits.streams``


class _Away(Enum):
    """How far the connection has been given up."""

    NO = "no"
    WARNED = "warned"  # the client was told to open no more streams; those on their way are still taken
    SAID = "said"  # later streams are refused
    CLOSING = "closing"


class H2ServerConnection(ServerFlow):
    """The server's side of an HTTP/2 connection. Made by ServerConnection; driven by its transport."""

    __slots__ = (
        "_away",
        "_field_block",
        "_heads",
        "_leaving",
        "_orphans",
        "_resets",
        "_scheduled",
        "_stall",
        "_taken",
        "_tick",
        "_turns",
        "_unsent",
        "_useful",
        "_wire",
        "_wrote",
        "limits",
        "loop",
        "paused",
        "protocol",
        "server",
        "streams",
    )

    def __init__(
        self, server: HttpServer, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, wire: Wire
    ) -> None:
        clock = server.clock
        super().__init__(loop, clock, server.limits)
        self.server = server
        self.loop = loop
        self.limits = server.limits
        self.transport = transport
        self.state = State.BUSY
        self.paused = False  # the transport takes no more
        self.streams: dict[int, H2ServerStream] = {}
        self._useful = Allowance(burst=2000, per_second=50, now=clock.monotonic)
        self._resets = Allowance(burst=200, per_second=20, now=clock.monotonic)
        self.protocol = ServerProtocol(server.limits, self._useful)
        self._wire = wire
        self._heads = RequestHeads(max_head=server.limits.head, max_headers=server.limits.headers)
        self._turns: dict[H2ServerStream, None] = {}  # those that have something to send, in order
        self._scheduled = False
        self._wrote = 0
        self._taken = 0  # bytes received that the connection's window was not opened for yet
        self._orphans = 0  # handlers of streams that are gone
        self._away = _Away.NO
        self._leaving = False  # the last answer is on its way
        self._tick = Deadline(clock, self._expire_streams)
        self._stall = Deadline(clock, self._stalled)
        self._field_block = Deadline(clock, self._slow_field_block)
        self._unsent = 0

    def take_over(self, data: bytes) -> None:
        """Begin: ``data`` was received already, the client's preface first (or part of it)."""
        transport = self.transport
        assert transport is not None
        self.server.connections.add(self)
        transport.set_protocol(self)
        self.protocol.start()
        self._deadline.set(self._limits.header_timeout)
        if self.server.draining:
            self.close_if_idle()
        else:
            self.flush()
            if data:
                self.data_received(data)

    # --- transport callbacks

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._leaving = False
        self._closed()
        for deadline in (self._tick, self._stall, self._field_block):
            deadline.stop()
        self._end_streams()
        if self.server.draining:
            self.server.request_ended()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.paused = True
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self._stall.set(self._limits.body_timeout)

    def resume_writing(self) -> None:
        self.paused = False
        self._stall.at = None
        if self._turns:
            self.flush_soon()

    def data_received(self, data: bytes) -> None:
        if self.state is not State.BUSY:
            return
        try:
            events = self.protocol.receive_data(data)
        except ProtocolError as error:
            self._break(error)
            return
        for event in events:
            act = _ACTS.get(type(event))
            if act is not None:
                act(self, event)
                if self._away is _Away.CLOSING:
                    return
        if self.protocol.in_field_block:
            if self._field_block.at is None:
                self._field_block.set(self._limits.header_timeout)
        else:
            self._field_block.at = None
        if self.transport is not None and self.transport.get_write_buffer_size() > _UNREAD + _FLUSH:
            self.abort()  # answers to PING, SETTINGS or bad streams that nobody reads
            return
        self.flush_soon()

    def _break(self, error: ProtocolError) -> None:
        """The client broke the protocol: h2 has prepared a GOAWAY that says how."""
        self._away = _Away.CLOSING
        self.flush()
        self._linger()
        self._end_streams()

    def _end_streams(self) -> None:
        for stream in list(self.streams.values()):
            stream.gone()
        self._turns.clear()

    # --- events

    def _request(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        assert stream_id is not None
        ended = event.stream_ended is not None
        if self._away is _Away.SAID or len(self.streams) + self._orphans >= self.limits.streams:
            self._count_reset()
            self.protocol.end_stream_with(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._useful.earn(10)
        stream = H2ServerStream(self, stream_id, self._clock.monotonic())
        try:
            head = self._heads.head(event.headers, ended=ended)
        except Malformed:
            self._count_reset()
            self.protocol.end_stream_with(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        except MooringsError as error:
            self._open(stream)
            stream.remote_ended = ended
            stream.refuse(error)
            return
        self._open(stream)
        try:
            stream.begin(head, self._wire, ended=ended)
        except MooringsError as error:
            stream.refuse(error)

    def _open(self, stream: H2ServerStream) -> None:
        self.streams[stream.id] = stream
        self._deadline.at = None

    def _data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._taken += size
        if self._taken >= CONNECTION_WINDOW // 2:
            self.protocol.increment_flow_control_window(self._taken)
            self._taken = 0
        if len(event.data or b"") >= 256:
            self._useful.earn(2)
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            stream.data(event.data or b"", size)

    def _ended(self, event: StreamEnded) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None and not stream.remote_ended:
            stream.end()

    def _trailers(self, event: TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is None:
            return
        try:
            trailers = trailers_of(event.headers)
        except Malformed:
            self._count_reset()
            stream.reset(ErrorCodes.PROTOCOL_ERROR)
            return
        stream.end(trailers or None)

    def _reset(self, event: StreamReset) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            if self._clock.monotonic() - stream.opened_at < _RAPID:
                self._count_reset()
            stream.gone()

    def _count_reset(self) -> None:
        """A stream came to nothing through the client: that must stay rare (rapid reset)."""
        if self.state is State.BUSY and not self._resets.spend(1):
            self.give_up(ErrorCodes.ENHANCE_YOUR_CALM, "too many streams that come to nothing")

    def _window(self, event: WindowUpdated | RemoteSettingsChanged) -> None:
        if self._turns:
            self.flush_soon()

    def _pong(self, event: PingAckReceived) -> None:
        if self._away is _Away.WARNED:
            self._say_away()

    def _terminated(self, event: ConnectionTerminated) -> None:
        """The client opens no more streams; those in progress go on."""
        self._away = _Away.SAID
        if not self.streams:
            self._close()

    # --- for the streams

    def due(self) -> float:
        """When a client that does nothing has run out of time."""
        if self._tick.at is None:
            self._tick.set(self._limits.body_timeout)
        return self._clock.monotonic() + self._limits.body_timeout

    def date(self) -> bytes:
        """The value of Date now."""
        return self.server.date_line()[6:-2]

    def wants_turn(self, stream: H2ServerStream) -> None:
        """A stream has something to send."""
        self._turns[stream] = None
        self.flush_soon()

    def wrote(self, size: int) -> None:
        """A stream has prepared a DATA frame."""
        self._useful.earn(2)
        self._wrote += size
        if self._wrote >= _FLUSH:
            self.flush()

    def orphaned(self, task: asyncio.Task[None]) -> None:
        """A stream is gone, its handler still runs."""
        self._orphans += 1
        self.server.orphans.add(task)

    def task_ended(self, task: asyncio.Task[None]) -> None:
        """A handler has ended."""
        if task in self.server.orphans:
            self.server.orphans.discard(task)
            self._orphans -= 1
        if self.server.draining:
            self.server.request_ended()

    def stream_ended(self, stream: H2ServerStream) -> None:
        """A stream's answer is complete, or it was reset."""
        self.streams.pop(stream.id, None)
        self._turns.pop(stream, None)
        self._resets.earn(0.5)
        if not self.streams and self.state is State.BUSY:
            if self._away is _Away.NO:
                self._deadline.set(self._limits.idle_timeout)
            else:
                self._leaving = True
                self._say_away()
        if self.server.draining:
            self.server.request_ended()

    # --- writing

    def flush_soon(self) -> None:
        """Let streams send, and write, once in this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.state is not State.BUSY:
            return
        progress = False
        turns = self._turns
        for stream in list(turns):
            if self.paused:
                break
            turns.pop(stream, None)
            progress = stream.turn() or progress
            if stream.waiting:
                turns[stream] = None
        self.flush()
        if progress and turns and not self.paused:
            self.flush_soon()

    def flush(self) -> None:
        """Write what has been prepared."""
        self._wrote = 0
        data = self.protocol.data_to_send()
        transport = self.transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)

    # --- the end

    @property
    def busy(self) -> int:
        """How many requests are in progress; the last answer counts until the client has taken it and closed."""
        return len(self.streams) + self._leaving

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Their handlers."""
        return [stream.task for stream in self.streams.values() if stream.task is not None]

    def close_if_idle(self) -> None:
        """For draining: the client is told to open no more streams (RFC 9113, 6.8); those in progress end first."""
        if self.state is not State.BUSY or self._away is not _Away.NO:
            return
        if not self.streams:
            self._say_away()
            return
        self._away = _Away.WARNED
        self.protocol.go_away(_EVERY_STREAM)
        self.protocol.ping(b"moorings")
        self.flush()

    def _say_away(self) -> None:
        if self._away is not _Away.SAID:
            self._away = _Away.SAID
            self.protocol.go_away(self.protocol.highest_inbound_stream_id)
        self.flush()
        if not self.streams:
            self._close()

    def give_up(self, code: ErrorCodes, reason: str) -> None:
        """End the connection and every stream of it: the client is a burden."""
        self._away = _Away.CLOSING
        self.protocol.go_away(self.protocol.highest_inbound_stream_id, code, reason)
        self.flush()
        self._linger()
        self._end_streams()

    def _close(self) -> None:
        self._away = _Away.CLOSING
        self._linger()

    def _drop_input(self) -> None:
        pass

    def _expired(self) -> None:
        if self.state is not State.BUSY:
            self.abort()
        elif not self.streams:
            self._say_away()

    def _abandoned(self) -> None:
        self.abort()

    def _expire_streams(self) -> None:
        now = self._clock.monotonic()
        for stream in list(self.streams.values()):
            stream.expire(now)
        left = [due for s in self.streams.values() for due in (s.due_in, s.due_out) if due is not None]
        if left and self.state is State.BUSY:
            self._tick.set(max(0.01, min(left) - now))

    def _slow_field_block(self) -> None:
        if self.state is State.BUSY:
            self.give_up(ErrorCodes.ENHANCE_YOUR_CALM, "a field block did not arrive in time")

    def _stalled(self) -> None:
        transport = self.transport
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.abort()
        else:  # slow, but alive
            self._unsent = unsent
            self._stall.set(self._limits.body_timeout)


_ACTS: dict[type[Event], Callable[[H2ServerConnection, Any], None]] = {
    RequestReceived: H2ServerConnection._request,
    DataReceived: H2ServerConnection._data,
    StreamEnded: H2ServerConnection._ended,
    TrailersReceived: H2ServerConnection._trailers,
    StreamReset: H2ServerConnection._reset,
    WindowUpdated: H2ServerConnection._window,
    RemoteSettingsChanged: H2ServerConnection._window,
    PingAckReceived: H2ServerConnection._pong,
    ConnectionTerminated: H2ServerConnection._terminated,
}
