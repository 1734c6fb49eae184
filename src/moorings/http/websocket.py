"""WebSocket: one that ends here, in a worker's or an object's own code (RFC 6455, with permessage-deflate, RFC 7692).

The frames are those of the ``websockets`` library, which does no I/O of its own; this module gives it the connection,
the closing handshake's time limit, back-pressure and the gates of the object that accepted it.

Invariants: what is sent leaves in the order of the calls, each message after the writes that its object made before;
at most ``_HELD_MESSAGES`` messages, or ``_HELD_BYTES`` and the one in hand, wait to be read, then the client is held
back; at most ``MAX_UNSENT`` bytes and the last message wait to be taken by the client, then it is closed;
who pings without taking the pongs is held back.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from websockets.datastructures import Headers as HandshakeHeaders
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import Protocol as Frames
from websockets.protocol import Side, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from yarl import URL

from moorings.clock import Clock, TimerHandle
from moorings.errors import BadRequest, MooringsError, WebSocketClosed
from moorings.http.close_frame import GOING_AWAY, GOING_AWAY_REASON, TRY_AGAIN_LATER, close_payload
from moorings.http.headers import Headers
from moorings.http.upgrade import OnLost, UpgradeResponse, reset

if TYPE_CHECKING:
    from moorings.http.request import Request

CLOSE_TIMEOUT = 5.0
"""Seconds that a closing handshake may take."""

MAX_UNSENT = 1024 * 1024
"""Bytes of sent messages that a client may leave untaken; beyond that it is closed with 1013."""

_HELD_MESSAGES = 64
_HELD_BYTES = 256 * 1024
_PIECE = 1024  # bytes of compressed data that are looked at in one go: they may become a thousand times as many
_OWN = frozenset(("connection", "upgrade", "date"))


class MessageGate(Protocol):
    """The gates of the object that a WebSocket ends in."""

    def pending_writes(self) -> Awaitable[None] | None:
        """What to await until the object's writes so far are durable; None where they are."""

    async def admitted(self) -> None:
        """Wait until the object takes events."""


class WebSocket:
    """A WebSocket accepted by ``request.accept_websocket()``: return its ``response`` from the handler.

    ``async for message in ws`` gives str and bytes, and ends when the socket is closed; then ``code`` and ``reason``
    say how. Pings are answered here. Used from the event loop's thread only.
    """

    def __init__(self, request: Request, *, protocols: Sequence[str], max_message: int, gate: MessageGate | None):
        """Checks the handshake. Raises BadRequest where it is none."""
        handshake = ServerProtocol(
            extensions=enable_server_permessage_deflate(None),
            subprotocols=[Subprotocol(protocol) for protocol in protocols] or None,
            select_subprotocol=_select(protocols),
        )
        headers = HandshakeHeaders(request.headers.items())
        answer = handshake.accept(HandshakeRequest(request.target.decode("latin-1"), headers))
        if answer.status_code != 101 or request.method != "GET":
            raise BadRequest((answer.body or b"").decode().partition("\n")[0] or "this is no WebSocket handshake")
        self._frames = Frames(Side.SERVER, max_size=max_message)
        self._frames.extensions = handshake.extensions
        self._headers = Headers([field for field in answer.headers.raw_items() if field[0].lower() not in _OWN])
        self._response: weakref.ref[UpgradeResponse] | None = None
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._connection: _Connection | None = None
        self._early = 0  # bytes sent before there is a connection
        self._ended = False
        self._waiting: deque[Callable[[], None]] = deque()  # what is sent once the object's writes are durable
        self._letting: asyncio.Task[None] | None = None
        self._arrived: deque[tuple[bool, bytes]] = deque()  # whether it is text, and the message
        self._arrived_bytes = 0
        self._unseen = b""  # what has arrived and waits until there is room for what is in it
        self._parts = bytearray()  # of a fragmented message
        self._text = False
        self._wakers: set[asyncio.Future[None]] = set()
        self._closed_here = False
        self.url: URL = request.url
        self.protocol: str | None = handshake.subprotocol
        """The subprotocol that was agreed on."""
        self.code: int | None = None
        """The close code that was received, 1005 for none, 1006 where the connection broke; None while it is open."""
        self.reason = ""
        """The reason that was received with ``code``."""

    @property
    def response(self) -> UpgradeResponse:
        """The 101 that accepts it, to be returned by the handler."""
        response = None if self._response is None else self._response()
        if response is None:
            response = UpgradeResponse("websocket", self)
            response._headers = self._headers
            self._response = weakref.ref(response)  # weak: a response that nobody sends ends the socket
        return response

    # --- receiving

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self._next()
        if message is None:
            raise StopAsyncIteration
        return message

    async def receive(self) -> str | bytes:
        """The next message. Raises WebSocketClosed once there are no more."""
        message = await self._next()
        if message is None:
            raise WebSocketClosed(f"the WebSocket is closed ({self.code})", close_code=self.code, reason=self.reason)
        return message

    async def _next(self) -> str | bytes | None:
        while not self._arrived:
            if self._ended:
                return None
            await self._woken()
            if self._gate is not None:
                await self._gate.admitted()
        is_text, data = self._arrived.popleft()
        self._arrived_bytes -= len(data)
        if not self._arrived:
            self._go_on()
        if not is_text:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            self._arrived.clear()
            self._arrived_bytes = 0
            self._frames.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            self._flush()
            self._go_on()
            return await self._next()

    # --- sending

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message.

        Takes effect at the call, once the object's earlier writes are durable; await the result to go no faster than
        the client takes it. Nothing happens where the client has gone; one that leaves over 1 MiB untaken is closed
        with 1013. Raises WebSocketClosed after ``close``, TypeError for what is no message.
        Source: developers.cloudflare.com/workers/runtime-apis/websockets/
        """
        if isinstance(message, str):
            data, text = message.encode(), True
        elif isinstance(message, bytes | bytearray | memoryview):
            data, text = bytes(message), False
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        if self._closed_here:
            raise WebSocketClosed("send() after close()", close_code=self.code, reason=self.reason)

        def put() -> None:
            if self._unsent() > MAX_UNSENT:
                self._close(TRY_AGAIN_LATER, "too slow")
            elif self._frames.state is State.OPEN:
                (self._frames.send_text if text else self._frames.send_binary)(data)
                if self._connection is None:
                    self._early += len(data)
                self._flush()

        self._after_writes(put)
        return _Flow(self)

    def _unsent(self) -> int:
        return self._early if self._connection is None else self._connection.unsent

    def close(self, code: int = 1000, reason: str = "") -> Awaitable[None]:
        """Close it.

        Takes effect at the call, once the object's earlier writes are durable; await the result to wait for the end of
        the closing handshake, 5 s at most. Later calls change nothing. Raises ValueError for a code or reason that
        can't be sent.
        """
        close_payload(code, reason)
        if not self._closed_here:
            self._closed_here = True
            self._after_writes(lambda: self._close(code, reason))
        return _End(self)

    def _close(self, code: int, reason: str) -> None:
        if self._frames.state is State.OPEN:
            self._frames.send_close(code, reason)
            self._flush()
            self._go_on()

    def _after_writes(self, action: Callable[[], None]) -> None:
        gate = self._gate
        if not self._waiting and (gate is None or gate.pending_writes() is None):
            action()
            return
        self._waiting.append(action)
        if self._letting is None:
            self._letting = self._loop.create_task(self._let_out(), name="moorings-websocket")

    async def _let_out(self) -> None:
        """Do what waits, in order. Its owner is the socket: the connection's end cancels it."""
        try:
            while self._waiting:
                pending = None if self._gate is None else self._gate.pending_writes()
                if pending is not None:
                    await pending
                self._waiting.popleft()()
        except MooringsError:  # the writes failed, so what was to be told never happened: break off
            self._waiting.clear()
            if self._connection is not None:
                self._connection.abort()
        finally:
            self._letting = None
            self._wake()

    def _flush(self) -> None:
        if self._connection is not None:
            self._connection.write(self._frames.data_to_send())
            if self._frames.close_expected():
                self._connection.arm()
                self._wake()

    # --- what the connection tells

    def _take(self, data: bytes) -> None:
        frames = self._frames
        data = self._unseen + data if self._unseen else data
        piece = _PIECE if frames.extensions else len(data)
        at = 0
        answered = False
        while at < len(data) and not self._is_full():
            frames.receive_data(data if piece >= len(data) else data[at : at + piece])
            at += piece
            for event in frames.events_received():
                if isinstance(event, Frame):
                    answered = answered or event.opcode is Opcode.PING
                    self._take_frame(event)
        self._unseen = data[at:]
        self._flush()
        connection = self._connection
        if connection is not None and (self._is_full() or (answered and connection.paused)):
            connection.pause()

    def _is_full(self) -> bool:
        """Whether the client has to wait; once the socket is being closed, what there is no room for is dropped."""
        return self._has_no_room() and self._frames.state is State.OPEN

    def _has_no_room(self) -> bool:
        return len(self._arrived) >= _HELD_MESSAGES or self._arrived_bytes >= _HELD_BYTES

    def _go_on(self) -> None:
        """There may be room again: look at what waits, then read on."""
        if self._unseen and not self._is_full():
            self._take(b"")
        if self._connection is not None and not self._is_full():
            self._connection.resume()

    def _flowing(self) -> None:
        """The client takes again what it is sent."""
        self._go_on()
        self._wake()

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        if not frame.fin:
            self._parts += frame.data
            return
        if self._parts:
            data = bytes(self._parts + frame.data)
            self._parts.clear()
        else:
            data = bytes(frame.data)
        if self._has_no_room() and self._frames.state is not State.OPEN:
            return
        self._arrived.append((self._text, data))
        self._arrived_bytes += len(data)
        self._wake()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._unseen = b""
        if self._letting is not None:
            self._letting.cancel()
        self._frames.receive_eof()
        received = self._frames.close_rcvd
        self.code, self.reason = (1006, "") if received is None else (int(received.code), received.reason)
        self._wake()

    # --- waiting

    async def _woken(self) -> None:
        waker: asyncio.Future[None] = self._loop.create_future()
        self._wakers.add(waker)
        try:
            await waker
        finally:
            self._wakers.discard(waker)

    def _wake(self) -> None:
        for waker in self._wakers:
            if not waker.done():
                waker.set_result(None)

    async def _until_flowing(self) -> None:
        while not self._ended and (self._waiting or (self._connection is not None and self._connection.paused)):
            await self._woken()

    async def _until_ended(self) -> None:
        while not self._ended:
            await self._woken()

    # --- Upgraded

    def take_over(
        self, transport: asyncio.Transport, early: bytes, on_lost: OnLost, *, clock: Clock, paused: bool
    ) -> None:
        """See ``http.upgrade.Upgraded``."""
        connection = self._connection = _Connection(self, transport, on_lost, clock, paused)
        transport.set_protocol(connection)
        self._flush()
        if early:
            connection.data_received(early)

    def drop(self) -> None:
        """See ``http.upgrade.Upgraded``. Whoever looks at the response more than once may have it made again."""
        if not self._loop.is_closed():
            self._loop.call_soon(self._dropped)

    def _dropped(self) -> None:
        response = None if self._response is None else self._response()
        if self._connection is None and (response is None or response.upgraded is None):
            self._end()

    def go_away(self) -> None:
        """See ``http.upgrade.Upgraded``."""
        self._close(GOING_AWAY, GOING_AWAY_REASON)


class _Flow:
    """Awaits that the client takes what was sent."""

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def __await__(self) -> Generator[object, None, None]:
        return self._socket._until_flowing().__await__()


class _End:
    """Awaits the end of the connection."""

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def __await__(self) -> Generator[object, None, None]:
        return self._socket._until_ended().__await__()


class _Connection(asyncio.Protocol):
    """The transport of a WebSocket."""

    __slots__ = ("_clock", "_on_lost", "_socket", "_timer", "_transport", "paused", "reading")

    def __init__(
        self, socket: WebSocket, transport: asyncio.Transport, on_lost: OnLost, clock: Clock, paused: bool
    ) -> None:
        self._socket = socket
        self._transport = transport
        self._on_lost = on_lost
        self._clock = clock
        self._timer: TimerHandle | None = None
        self.paused = paused
        self.reading = True

    def data_received(self, data: bytes) -> None:
        self._socket._take(data)

    def eof_received(self) -> bool:
        self._socket._frames.receive_eof()
        self._socket._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._socket._end()
        self._on_lost(exc)

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken."""
        return self._transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._socket._flowing()

    def write(self, pieces: list[bytes]) -> None:
        """Write what the library wants written; an empty piece ends the sending."""
        transport = self._transport
        if not pieces or transport.is_closing():
            return
        ends = pieces[-1] == b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            transport.write(data)
        if ends:
            if transport.can_write_eof():
                transport.write_eof()
            else:
                transport.close()

    def arm(self) -> None:
        """The closing handshake has begun: it has to end in time."""
        if self._timer is None:
            self._timer = self._clock.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def abort(self) -> None:
        """Reset the connection."""
        reset(self._transport)

    def pause(self) -> None:
        """Read no more, for now."""
        if self.reading and not self._transport.is_closing():
            self.reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.reading and not self._transport.is_closing():
            self.reading = True
            self._transport.resume_reading()


def _select(protocols: Sequence[str]) -> Callable[[ServerProtocol, Sequence[Subprotocol]], Subprotocol | None] | None:
    """The first of ours that the client offers; a client that offers others only is refused (RFC 6455, 4.2.2)."""
    if not protocols:
        return None

    def select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        if not offered:
            return None
        for protocol in protocols:
            if protocol in offered:
                return Subprotocol(protocol)
        raise NegotiationError(f"none of the subprotocols {', '.join(offered)} is spoken here")

    return select
