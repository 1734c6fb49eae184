"""ForwardedWebSocket: a tunnel that knows where frames end, so that the platform can put in some of its own.

As long as nobody asks for that, bytes pass as in any tunnel and only frame headers are looked at. ``send`` puts a
message between two messages of the container's, ``close`` a close frame between two frames, in both directions; after
its close frame nothing of the old stream passes in that direction (RFC 6455, 5.5.1).

Activity is what data frames are: pings, pongs and close frames are sent by libraries on their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from yarl import URL

from moorings.clock import Clock
from moorings.errors import WebSocketClosed
from moorings.http.close_frame import GOING_AWAY, GOING_AWAY_REASON, TRY_AGAIN_LATER, close_payload
from moorings.proxy.frames import FrameTracker, Opcode, frame, new_mask
from moorings.proxy.tunnel import End, Tunnel

CLOSE_TIMEOUT = 5.0
"""Seconds that a closing handshake may take."""

_LINGER = 30.0  # seconds that a client may take to end after the container has

_LINGER_AFTER_CLOSE = 2.0  # seconds that a client may take to end after a complete closing handshake

MAX_UNSENT = 1024 * 1024
"""Bytes of our own that a client may leave untaken; beyond that it is closed."""

Gate = Callable[[Callable[[], None], Callable[[BaseException], None]], None]
"""Calls its first argument once what the caller wrote before is durable, in the order of the calls; else its second."""

_Put = tuple[bytes, Opcode, asyncio.Future[None] | None]


class FrameEnd(End):
    """One side of a WebSocket. ``cut``: our close frame was written to the peer, and what still comes is dropped."""

    __slots__ = ("_plain", "_queue", "_socket", "cut", "frames", "queued")

    def __init__(
        self, socket: ForwardedWebSocket, transport: asyncio.Transport, on_activity: Callable[[], object]
    ) -> None:
        super().__init__(socket, transport, on_activity)
        self._socket = socket
        self.frames = FrameTracker()
        self.cut = False
        self._queue: deque[_Put] = deque()  # to be put between what passes
        self.queued = 0  # bytes of it
        self._plain = True  # nothing waits and nobody closes: bytes just pass

    def data_received(self, data: bytes) -> None:
        if self._plain:
            if self.frames.take(data):
                self.on_activity()
            self._write(data)
            return
        frames = self.frames
        size = len(data)
        at = start = 0
        active = False
        while at < size:
            if self._queue and frames.between_frames:
                if at > start and not self.cut:
                    self._write(data[start:at])
                start = at
                self._flush()
            at = frames.advance(data, at)
            active = active or frames.in_data
            if self.cut:
                start = at
        if start < size:
            self._write(data[start:])
        if self._queue:
            self._flush()
        if active and not self.cut:
            self.on_activity()
        self._socket.passed()

    def closing(self) -> None:
        """From now on the tunnel wants to know what passes."""
        self._plain = False

    def put(self, data: bytes, opcode: Opcode, done: asyncio.Future[None] | None = None) -> None:
        """Write a frame to the peer as soon as one fits in; ``done`` is set then, or when it never will."""
        self._queue.append((data, opcode, done))
        self.queued += len(data)
        self._flush()

    def clear(self) -> None:
        """Nothing that waits will be written any more."""
        self.queued = 0
        while self._queue:
            _, _, done = self._queue.popleft()
            if done is not None and not done.done():
                done.set_result(None)

    def _flush(self) -> None:
        frames, queue = self.frames, self._queue
        if queue and frames.closed and frames.between_frames:  # what it says itself has ended: nothing may follow
            self.cut = self._socket.is_closing
            self.clear()
        while queue and frames.between_frames and not self.cut:
            data, opcode, done = queue[0]
            if frames.in_message and opcode != Opcode.CLOSE:
                break
            queue.popleft()
            self.queued -= len(data)
            self._write(data)
            self.cut = opcode == Opcode.CLOSE
            if done is not None and not done.done():
                done.set_result(None)
        if self.cut:
            self.clear()
        self._plain = not queue and not self._socket.is_closing


class ForwardedWebSocket(Tunnel):
    """A WebSocket between a client and a container, as it is found in ``self.connections``.

    ``url`` is what the client asked for; ``opened_at`` is in Unix seconds.
    """

    client: FrameEnd | None
    container: FrameEnd

    def __init__(
        self,
        transport: asyncio.Transport,
        rest: bytes,
        *,
        url: URL,
        clock: Clock,
        gate: Gate,
        stopping: Callable[[], bool],
        on_activity: Callable[[], object],
        on_open: Callable[[ForwardedWebSocket], object],
        on_end: Callable[[Tunnel], object],
    ) -> None:
        """``stopping()`` says whether the container is being stopped: its client then gets a close frame in any case.

        For the other arguments see Tunnel.
        """
        self.url = url
        self.opened_at = clock.time()
        self.is_closing = False
        self._lingers = False
        self._last = clock.monotonic()
        self._monotonic = clock.monotonic
        self._gate = gate
        self._stopping = stopping
        self._activity = on_activity
        self._on_open = on_open
        self._closed_here = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        super().__init__(transport, rest, clock=clock, on_activity=self._active, on_end=on_end)

    # --- what users call

    @property
    def last_activity(self) -> float:
        """When the last data frame passed, in Unix seconds; ``opened_at`` before the first."""
        return self.clock.time() - (self._monotonic() - self._last)

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send the client a message of our own, as soon as no message of the container's is under way.

        Takes effect at the call, once the object's earlier writes are durable; await the result to know that the
        message was written. Nothing happens where the other side has gone; a client that leaves over 1 MiB untaken is
        closed with 1013. Raises WebSocketClosed after ``close``, TypeError for what is no message; awaiting it raises
        StoreError where the earlier writes failed, and the message was not sent.
        """
        if isinstance(message, str):
            data = frame(Opcode.TEXT, message.encode())
        elif isinstance(message, bytes | bytearray | memoryview):
            data = frame(Opcode.BINARY, bytes(message))
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if self._closed_here:
            raise WebSocketClosed("send() after close()")
        done: asyncio.Future[None] = self._over.get_loop().create_future()

        def put() -> None:
            if done.done():
                return  # whoever awaited it was cancelled
            if self._over.done() or self.is_closing or self.container.frames.closed:
                done.set_result(None)
            elif self._unsent() > MAX_UNSENT:
                self._close(close_payload(TRY_AGAIN_LATER, "too slow"))
                done.set_result(None)
            else:
                self.container.put(data, Opcode.TEXT, done)

        def failed(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)
                done.exception()  # awaiting it is up to the caller

        self._gate(put, failed)
        return done

    def _unsent(self) -> int:
        client = self.client
        written = 0 if client is None or client.transport is None else client.transport.get_write_buffer_size()
        return written + self.container.queued

    def close(self, code: int = 1000, reason: str = "") -> Awaitable[None]:
        """Close it: a close frame goes to the client and one to the container, each between two frames.

        Takes effect at the call, once the object's earlier writes are durable; await the result to wait for the end of
        the closing handshake, 5 s at most. Later calls change nothing. Raises ValueError for a code or reason that
        can't be sent.
        """
        payload = close_payload(code, reason)
        if not self._closed_here and not self._over.done():
            self._closed_here = True
            self._gate(lambda: self._close(payload), self._not_closed)
        return asyncio.shield(self._over)

    # --- closing

    def _not_closed(self, error: BaseException) -> None:
        """The object is being reset: that it wanted to close it never happened."""
        self._closed_here = False

    def go_away(self) -> None:
        """See ``http.upgrade.Upgraded``."""
        if not self._over.done():
            self._close(close_payload(GOING_AWAY, GOING_AWAY_REASON))

    def _close(self, payload: bytes) -> None:
        client = self.client
        if self.is_closing or self._over.done() or client is None:
            return
        self.arm(CLOSE_TIMEOUT)
        if client.frames.closed or self.container.frames.closed:
            return  # they are closing it themselves
        self.is_closing = True
        client.closing()
        self.container.closing()
        self.container.put(frame(Opcode.CLOSE, payload), Opcode.CLOSE)
        client.put(frame(Opcode.CLOSE, payload, mask=new_mask()), Opcode.CLOSE)
        self.passed()

    def passed(self) -> None:
        """Something has passed: is a closing handshake complete? The server closes first (RFC 6455, 7.1.1)."""
        client = self.client
        if self.is_closing and client is not None and (client.frames.closed or client.eof) and self.container.cut:
            client.close()

    def _farewell(self) -> bool:
        """The container is gone while it was being stopped: tell the client, where no frame is cut off."""
        client = self.client
        if self.is_closing or client is None or client.transport is None or not self._stopping():
            return False
        container = self.container
        if container.eof_passed or container.frames.closed or not container.frames.between_frames:
            return False
        self.is_closing = True
        self.arm(CLOSE_TIMEOUT)
        client.closing()
        client.cut = True
        container.clear()
        client.transport.write(frame(Opcode.CLOSE, close_payload(GOING_AWAY, GOING_AWAY_REASON)))
        container.cut = True
        self.passed()
        return True

    # --- Tunnel

    def end_of(self, transport: asyncio.Transport) -> FrameEnd:
        """See Tunnel."""
        return FrameEnd(self, transport, self._on_activity)

    def opened(self) -> None:
        """See Tunnel."""
        self._on_open(self)

    def ended(self) -> None:
        """See Tunnel."""
        self.container.clear()
        if not self._over.done():
            self._over.set_result(None)

    def eof(self, end: End) -> None:
        """See Tunnel. While it is being closed here, each side ends on its own."""
        if (end is self.container and self._farewell()) or self.is_closing:
            end.close()
        elif end is self.container and self._handshake_complete():
            end.close()
            self._end_client()
        else:
            super().eof(end)
            if end is self.container:
                self.arm(_LINGER)

    def _handshake_complete(self) -> bool:
        return self.container.frames.closed and self.client is not None and self.client.frames.closed

    def _end_client(self) -> None:
        """The closing handshake is complete: the client is told the end, and what it still sends is dropped.

        Closing its connection with something of it unread would reset it, and could take its close frame with it.
        """
        client = self.client
        if self._lingers or client is None or client.transport is None or client.transport.is_closing():
            return
        if client.eof or not client.transport.can_write_eof():
            client.close()
            return
        self._lingers = True
        self.container.pass_eof(client.transport)
        self.arm(_LINGER_AFTER_CLOSE)

    def peer_lost(self, end: End, peer: End, exc: Exception | None) -> None:
        """See Tunnel."""
        if end is self.container and self._farewell():
            return
        if end is self.container and not self.is_closing and self._handshake_complete():
            self._end_client()
        elif not self.is_closing:
            super().peer_lost(end, peer, exc)
        elif end is self.container and not self.container.cut:
            peer.reset()

    def container_ended(self) -> None:
        """See Tunnel. A closing handshake that is under way has its own time limit."""
        if not self.is_closing:
            super().container_ended()

    def expired(self) -> None:
        """See Tunnel: a client that has its close frame is not reset."""
        if self._farewell():
            self.container.reset()
            return
        if self.client is not None and self.client.transport is not None and self.container.cut:
            self.client.transport.abort()
        super().expired()

    def _active(self) -> None:
        self._last = self._monotonic()
        self._activity()
