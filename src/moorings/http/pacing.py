"""Pacing: a crowd that needs connections to one port gets them a few at a time.

Many programs listen with a backlog of 5 (Python's socketserver does). A crowd that connects at once would overflow
it, and the kernel makes those whose SYN it drops wait for a second and more. So at most ``BURST`` connections are in
the making, or were made within the last ``PACE`` seconds without having been of use yet; the others wait for their
turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from moorings.clock import Clock

BURST = 5
PACE = 0.003


class Pacing:
    """A turnstile. Used from one event loop."""

    __slots__ = ("_clock", "_held", "_making", "_queue")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._making = 0
        self._held: set[Hashable] = set()
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a turn; ``made`` or ``failed`` follows."""
        if self._making + len(self._held) < BURST and not self._queue:
            self._making += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.failed()
            raise

    def failed(self) -> None:
        """Nothing came of a turn."""
        self._making -= 1
        self._admit()

    def made(self, connection: Hashable) -> None:
        """A turn has led to a connection; its place is held until it has been of use, or for ``PACE`` seconds."""
        self._making -= 1
        self._held.add(connection)
        self._clock.call_later(PACE, self.of_use, connection)

    def of_use(self, connection: Hashable) -> None:
        """The program has answered on a connection, or closed it: it has been accepted. Idempotent."""
        if connection in self._held:
            self._held.discard(connection)
            self._admit()

    @property
    def holds(self) -> bool:
        """Whether there is any connection that ``of_use`` has to be told of."""
        return bool(self._held)

    def _admit(self) -> None:
        while self._queue and self._making + len(self._held) < BURST:
            turn = self._queue.popleft()
            if not turn.done():
                self._making += 1
                turn.set_result(None)
