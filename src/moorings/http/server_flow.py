"""ServerFlow: what a client's connection does to its transport: stop and go, time out, end.

Ways to end: ``_shut`` closes once everything is sent; ``_linger`` half-closes and reads on, so that unread bytes don't
reset the connection before the client has read its answer (RFC 9112, 9.6); ``abort`` resets, so that a client can't
take what it got for the whole.

A client that leaves is noticed by reading. While reading is paused in the middle of a request, the socket is looked at
every ``LOOK_EVERY`` seconds instead.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum, IntFlag

from moorings.clock import Clock
from moorings.http.deadline import Deadline
from moorings.http.limits import Limits
from moorings.http.peer import LOOK_EVERY, peer_left
from moorings.http.upgrade import Upgraded

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class State(Enum):
    """What a connection is doing."""

    HEAD = "head"  # waiting for a request head
    BUSY = "busy"  # a request is in progress, or the rest of its body is being dropped
    UPGRADED = "upgraded"  # handed over: it belongs to another protocol
    LINGER = "linger"  # answered and half-closed; what comes is dropped
    CLOSED = "closed"


class Pause(IntFlag):
    """Why nothing is read from the client."""

    NONE = 0
    BODY = 1  # the reader of the request body is behind
    HELD = 2  # enough bytes of later requests wait
    BROKEN = 4  # nothing that still comes can be understood


class ServerFlow(asyncio.Protocol):
    """The part of a server connection that knows nothing of requests."""

    __slots__ = (
        "_clock",
        "_deadline",
        "_gone",
        "_limits",
        "_look",
        "_loop",
        "_pause",
        "state",
        "transport",
        "upgraded",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._clock = clock
        self._deadline = Deadline(clock, self._expired)
        self._look: Deadline | None = None  # at the socket, while reading is paused
        self._pause = Pause.NONE
        self._gone: asyncio.Future[None] | None = None
        self.state = State.HEAD
        self.transport: asyncio.Transport | None = None
        self.upgraded: Upgraded | None = None  # what the connection has become

    def abort(self) -> None:
        """Reset the connection, so that the client can't take what it got for the whole."""
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and not transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def gone(self) -> asyncio.Future[None]:
        """Done once the connection is closed."""
        if self._gone is None:
            self._gone = self._loop.create_future()
            if self.transport is None:
                self._gone.set_result(None)
        return self._gone

    def _expired(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def _abandoned(self) -> None:
        """The client has left in the middle of a request."""
        raise NotImplementedError

    def _drop_input(self) -> None:
        """Forget what was read and not used."""
        raise NotImplementedError

    def _shut(self) -> None:
        self.state = State.CLOSED
        if self.transport is not None:
            self._deadline.set(self._limits.body_timeout)
            self.transport.close()

    def _linger(self) -> None:
        transport = self.transport
        self.state = State.LINGER
        self._drop_input()
        if transport is None or transport.is_closing():
            return
        if not transport.can_write_eof():
            self._shut()
            return
        transport.write_eof()
        self._resume_reading(self._pause)
        self._deadline.set(self._limits.linger)

    def _closed(self) -> None:
        """The transport is gone."""
        self.state = State.CLOSED
        self.transport = None
        self._deadline.stop()
        if self._look is not None:
            self._look.stop()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _pause_reading(self, reason: Pause) -> None:
        if not self._pause and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            if self._look is None:
                self._look = Deadline(self._clock, self._look_at_peer)
            self._look.set(LOOK_EVERY)
        self._pause |= reason

    def _resume_reading(self, reason: Pause) -> None:
        if not self._pause:
            return
        self._pause &= ~reason
        if not self._pause and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            if self._look is not None:
                self._look.at = None

    def _look_at_peer(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self.state is State.BUSY and peer_left(transport):
            self._abandoned()
        elif self._look is not None:
            self._look.set(LOOK_EVERY)
