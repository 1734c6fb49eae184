"""The input gate: no event of an object is delivered while one of its ``block_concurrency_while`` closures runs.

Delivery is both the start of a handler and the resumption of one that awaits something: ``gated`` drives a handler's
coroutine and holds each resumption while the gate is closed. Those who wait pass in the order in which they came,
one at a time, so a handler that closes the gate again in its first step stops the rest of the queue behind it.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from moorings.clock import Clock, TimerHandle
from moorings.objects.event import Event, EventKind

T = TypeVar("T")

BLOCK_TIMEOUT = 30.0
"""Seconds that a block_concurrency_while closure may take (Cloudflare: 30 s); the platform's own waits don't count."""


class Block:
    """One running ``block_concurrency_while``: whose event it is, and how much of its time is left."""

    __slots__ = ("_clock", "_left", "_on_timeout", "_paused", "_since", "_timer", "event")

    def __init__(self, event: Event, clock: Clock) -> None:
        self.event = event
        self._clock = clock
        self._left = BLOCK_TIMEOUT
        self._since = 0.0
        self._paused = 0
        self._timer: TimerHandle | None = None
        self._on_timeout: Any = None

    def start(self, on_timeout: Any) -> None:
        """Start counting; ``on_timeout()`` is called when the time is used up."""
        self._on_timeout = on_timeout
        self._arm()

    def _arm(self) -> None:
        self._since = self._clock.monotonic()
        self._timer = self._clock.call_later(self._left, self._on_timeout)

    def end(self) -> None:
        """Stop counting for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Don't count the time spent inside: it is the platform's."""
        self._paused += 1
        if self._paused == 1 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = max(0.0, self._left - (self._clock.monotonic() - self._since))
        try:
            yield
        finally:
            self._paused -= 1
            if not self._paused and self._on_timeout is not None:
                self._arm()

    def covers(self, event: Event) -> bool:
        """Whether an event may go on while this block runs: the one that runs it with all it causes, and hooks."""
        return event.kind is EventKind.HOOK or event.descends_from(self.event)


class InputGate:
    """Closed while ``block`` is set. All methods belong to the event loop's thread."""

    __slots__ = ("_waiting", "block")

    def __init__(self) -> None:
        self.block: Block | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        """Whether an event may enter at once."""
        return self.block is None and not self._waiting

    def holds(self, event: Event) -> bool:
        """Whether a handler that is already under way has to wait before it is resumed."""
        return self.block is not None and not self.block.covers(event)

    async def enter(self, event: Event) -> None:
        """Wait for this event's turn. Raises what ``fail`` gives where the object is reset meanwhile."""
        if self.free or event.kind is EventKind.HOOK:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        while True:
            try:
                await turn
            finally:
                if turn.cancelled():
                    self._pump()
            if not self.holds(event):
                return
            turn = asyncio.get_running_loop().create_future()
            self._waiting.appendleft(turn)

    def close(self, block: Block) -> None:
        """No event but those that ``block`` covers passes until ``open``."""
        self.block = block

    def open(self, block: Block) -> None:
        """End ``block`` and let the queue move. Nothing happens where another block holds the gate."""
        block.end()
        if self.block is block:
            self.block = None
            self._pump()

    def fail(self, error: BaseException) -> None:
        """Give all who wait the error, and open: the object they waited for is gone."""
        if self.block is not None:
            self.block.end()
            self.block = None
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_exception(error)

    def _pump(self) -> None:
        while self.block is None and self._waiting:
            turn = self._waiting.popleft()
            if turn.done():
                continue
            turn.set_result(None)
            if self._waiting:
                # The one just let in takes its first step before this call: it may close the gate again.
                asyncio.get_running_loop().call_soon(self._pump)
            return


@types.coroutine
def gated(gate: InputGate, event: Event, handler: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Drive ``handler``, holding each of its resumptions while the gate is closed to its event."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            awaited = handler.send(value) if error is None else handler.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration carries Any
        value = error = None
        try:
            value = yield awaited
        except GeneratorExit:
            handler.close()
            raise
        except BaseException as raised:  # noqa: BLE001  # handed to the handler, whatever it is
            error = raised
        if gate.holds(event):
            try:
                yield from gate.enter(event).__await__()
            except GeneratorExit:
                handler.close()
                raise
            except BaseException as raised:  # noqa: BLE001  # a cancellation or the object's reset
                error = raised
