"""Tunnel: two connections spliced after a 101, each one's bytes written to the other as they come.

Bytes are handed on as the objects they were read into, without copy, task or queue. Back-pressure: an end that can't
take more stops the reading of its peer. Half-close is kept: the end of one direction ends that direction only; the
tunnel is over when both have ended, or when either connection breaks. That resets the other, unless the broken one had
ended its own direction before: then all that it had to say has passed, and the other is closed in order.

Invariant: ``on_end`` is called exactly once, when both connections are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from moorings.clock import Clock, TimerHandle
from moorings.http.upgrade import OnLost, reset

_SILENCE = 1.0  # seconds without a byte after which a tunnel ends while the platform stops
_KILL_AFTER = 2.0  # seconds for the last bytes of a container that has ended


class End(asyncio.Protocol):
    """One of the two connections: what it reads goes to its peer, until the peer is told that nothing follows."""

    __slots__ = ("_write", "eof", "eof_passed", "on_activity", "peer", "transport", "tunnel")

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, on_activity: Callable[[], object]) -> None:
        self.tunnel = tunnel
        self.transport: asyncio.Transport | None = transport
        self.on_activity = on_activity
        self.peer: End | None = None
        self.eof = False
        self.eof_passed = False
        self._write: Callable[[bytes], object] = _drop

    def splice(self, peer: End) -> None:
        """From now on, what is read here is written there."""
        self.peer = peer
        if peer.transport is not None:
            self._write = peer.transport.write

    def data_received(self, data: bytes) -> None:
        self.on_activity()
        self._write(data)

    def eof_received(self) -> bool:
        self.eof = True
        self.tunnel.eof(self)
        return self.transport is not None and self.transport.can_write_eof()  # TLS has no half-close

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._write = _drop
        if self.peer is not None:
            self.peer._write = _drop
        self.tunnel.lost(self, exc)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.pause()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.resume()

    def pause(self) -> None:
        """Read no more, for now."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def pass_eof(self, peer: asyncio.Transport) -> None:
        """Tell the peer that this direction has ended: nothing can be written to it any more."""
        self.eof_passed = True
        self._write = _drop
        peer.write_eof()

    def close(self) -> None:
        """Close once everything is sent. Idempotent."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close at once, so that it is seen as broken. Idempotent."""
        if self.transport is not None:
            reset(self.transport)


def _drop(data: bytes) -> None:
    """Write to a connection that is gone."""


class Tunnel:
    """A client's connection and one into a container. Implements ``http.upgrade.Upgraded``.

    It is made with the container's side only, which isn't read until the client's is there (``take_over``). Every byte
    calls ``on_activity``.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        rest: bytes,
        *,
        clock: Clock,
        on_activity: Callable[[], object],
        on_end: Callable[[Tunnel], object],
    ) -> None:
        """``transport`` leads into the container; ``rest`` is what has been read from it behind its 101."""
        self.clock = clock
        self._on_activity = on_activity
        self._on_end: Callable[[Tunnel], object] | None = on_end
        self._on_lost: OnLost | None = None
        self._rest = rest
        self._timer: TimerHandle | None = None
        self._deadline = 0.0
        self._moved = False
        self.client: End | None = None
        self.container = self.end_of(transport)
        self.container.pause()
        transport.set_protocol(self.container)

    def end_of(self, transport: asyncio.Transport) -> End:
        """The reading of one side."""
        return End(self, transport, self._on_activity)

    # --- Upgraded

    def take_over(
        self, transport: asyncio.Transport, early: bytes, on_lost: OnLost, *, clock: Clock, paused: bool
    ) -> None:
        """See ``http.upgrade.Upgraded``."""
        client = self.client = self.end_of(transport)
        container = self.container
        self._on_lost = on_lost
        transport.set_protocol(client)
        if container.transport is None:
            client.reset()
            return
        client.splice(container)
        container.splice(client)
        self.opened()
        rest, self._rest = self._rest, b""
        if rest:
            container.data_received(rest)
        if early:
            client.data_received(early)
        if not paused:
            container.resume()

    def opened(self) -> None:
        """Both sides are there."""

    def drop(self) -> None:
        """See ``http.upgrade.Upgraded``."""
        self.container.reset()

    def go_away(self) -> None:
        """See ``http.upgrade.Upgraded``: a protocol that isn't known has no polite end but silence."""
        self._moved = False
        for end in (self.container, self.client):
            if end is not None:
                end.on_activity = self._still_moves
        self.clock.call_later(_SILENCE, self._end_in_silence)

    def _still_moves(self) -> None:
        self._moved = True

    def _end_in_silence(self) -> None:
        if self._on_end is None:
            return
        if not self._moved:
            self.abort()
            return
        self._moved = False
        self.clock.call_later(_SILENCE, self._end_in_silence)

    # --- what the ends tell

    def eof(self, end: End) -> None:
        """One side sends no more."""
        peer = end.peer
        if peer is None or peer.transport is None:
            end.close()
        elif peer.eof:
            peer.close()
            end.close()
        elif peer.transport.can_write_eof():
            if not peer.transport.is_closing():
                end.pass_eof(peer.transport)
        else:
            peer.close()

    def lost(self, end: End, exc: Exception | None) -> None:
        """One side's connection is gone."""
        peer = end.peer
        if peer is not None and peer.transport is not None:
            self.peer_lost(end, peer, exc)
        if end is self.client and self._on_lost is not None:
            self._on_lost(exc)
        self._settle()

    def peer_lost(self, end: End, peer: End, exc: Exception | None) -> None:
        """What becomes of the side that is left."""
        if end.eof:
            peer.close()  # all that it sent has passed, in order
        else:
            peer.reset()

    def _settle(self) -> None:
        client = self.client
        if self.container.transport is None and (client is None or client.transport is None):
            self.disarm()
            on_end, self._on_end = self._on_end, None
            if on_end is not None:
                self.ended()
                on_end(self)

    def ended(self) -> None:
        """Both sides are gone."""

    # --- ends that come from outside

    def container_ended(self) -> None:
        """The container has ended: what it sent last may still pass, then the tunnel ends."""
        self.arm(_KILL_AFTER)

    def abort(self) -> None:
        """Reset both sides now. Idempotent."""
        self.container.reset()
        if self.client is not None:
            self.client.reset()

    def arm(self, seconds: float) -> None:
        """End in ``seconds`` at the latest; an earlier deadline stays."""
        at = self.clock.monotonic() + seconds
        if self._on_end is None or (self._timer is not None and self._deadline <= at):
            return
        self.disarm()
        self._deadline = at
        self._timer = self.clock.call_later(seconds, self.expired)

    def disarm(self) -> None:
        """No deadline any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def expired(self) -> None:
        """The deadline has passed."""
        self._timer = None
        self.abort()
