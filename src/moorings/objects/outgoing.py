"""Bodies and byte streams that an object makes, on their way out.

They leave chunk by chunk, each behind the object's output gate, long after the handler that made them has returned.
Until their end they are part of what the object does: it stays in memory, and its container stays awake.

Invariant: such a stream counts as a request in flight until it has ended, was closed or dropped, or until its client
has gone; never longer, and once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from moorings.errors import ObjectReset
from moorings.http import Request, Response
from moorings.http.message import held

if TYPE_CHECKING:
    from moorings.objects.activation import Activation


class _InFlight:
    """One stream, counted as a request in flight until ``end``."""

    __slots__ = ("_activation",)

    def __init__(self, activation: Activation) -> None:
        self._activation: Activation | None = activation
        activation.begin_request()

    def end(self) -> None:
        """It isn't any more; idempotent."""
        activation, self._activation = self._activation, None
        if activation is not None:
            activation.end_request()


class StreamGate:
    """What a stream of an object awaits before each of its chunks. The stream ends with the object's memory."""

    __slots__ = ("_activation", "_generation")

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._generation = activation.generation

    async def __call__(self) -> None:
        """Wait until the object's writes are durable. Raises StoreError, and ObjectReset where its memory is gone."""
        activation = self._activation
        await activation.written()
        if activation.generation != self._generation:
            raise ObjectReset(f"{activation.subject.label} was reset while it sent a stream")


class _CountedGate(StreamGate):
    """The gate of a stream that counts as a request in flight. The stream alone holds on to it: it lives as long."""

    __slots__ = ("_in_flight", "_loop", "_thread")

    def __init__(self, activation: Activation, in_flight: _InFlight) -> None:
        super().__init__(activation)
        self._in_flight = in_flight
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __del__(self) -> None:
        if threading.get_ident() == self._thread:
            self._in_flight.end()
        else:
            with suppress(RuntimeError):  # the loop was closed: nobody counts any more
                self._loop.call_soon_threadsafe(self._in_flight.end)


def send_body(activation: Activation, response: Response, request: Request | None = None) -> None:
    """Hold the chunks of a response that an object has made; ``request`` is the one that it answers."""
    if response.head is not None or response.body is None:
        return  # it came from a container, or there is nothing to hold
    in_flight = _InFlight(activation)
    if request is not None:
        request.signal.add_listener(in_flight.end)
    response.hold_chunks(_CountedGate(activation, in_flight))


def send_stream(activation: Activation, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream that a method of an object has returned, its chunks held."""
    return held(chunks, _CountedGate(activation, _InFlight(activation)))
