"""Ending a container: gracefully, at its deadline, or at once.

A stop is one task of the controller: ``on_stop`` while connections are open, the signal, and SIGKILL at a deadline
that is stored, so that it outlives the platform.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from moorings.clock import TimerHandle
from moorings.containers.lifecycle import DOWN, Move
from moorings.containers.waiting import first_of, wait_for
from moorings.objects.event import EventKind, current_event

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.incarnation import Incarnation


class Ending:
    """The ends of one controller's incarnations."""

    __slots__ = ("_controller", "_kill_timer")

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._kill_timer: TimerHandle | None = None

    async def stop(self, signum: int) -> None:
        """See ``Controller.stop``."""
        controller = self._controller
        incarnation = controller.incarnation
        if controller.status in DOWN or incarnation is None:
            return
        if not incarnation.stopping:
            recorded = self._begin(incarnation)
            controller.tasks.spawn("stop", self._stop(incarnation, signum, recorded))
        event = current_event.get()
        if event is None or event.kind is not EventKind.HOOK or event.label != "on_stop":
            await asyncio.shield(incarnation.signalled)

    def _begin(self, incarnation: Incarnation) -> Awaitable[None] | None:
        incarnation.stopping = True
        self._controller.cool()
        self._controller.activity.disarm()
        return self._controller.move(Move.STOP)

    async def _stop(self, incarnation: Incarnation, signum: int, recorded: Awaitable[None] | None = None) -> None:
        controller = self._controller
        try:
            await controller.books.durable(recorded)
            if await asyncio.shield(incarnation.spawned) and not incarnation.exited.done():
                await controller.pausing.thaw_to_end(incarnation)
                hook = controller.announce("on_stop", lambda instance: instance.on_stop())
                await first_of(controller.service.clock, [hook, incarnation.exited], controller.service.budgets.on_stop)
                incarnation.close_connections()
                incarnation.signals_sent.add(signum)
                try:
                    await controller.service.runtime.signal(incarnation.token, signum)
                finally:
                    self._set_deadline(incarnation)
        finally:
            if not incarnation.signalled.done():
                incarnation.signalled.set_result(None)

    def resume(self, incarnation: Incarnation) -> None:
        """Go on with a stop after a restart: wait for its deadline, or begin again where no signal was sent yet."""
        if incarnation.kill_at is None:
            self._controller.tasks.spawn("stop", self._stop(incarnation, signal.SIGTERM))
        else:
            incarnation.signalled.set_result(None)
            self._controller.tasks.spawn("thaw", self._controller.pausing.thaw_to_end(incarnation))
            self._arm(incarnation)

    def _set_deadline(self, incarnation: Incarnation) -> None:
        if incarnation.exited.done():
            return
        grace = self._controller.options.stop_grace
        longest = self._controller.service.budgets.longest_stop_grace
        incarnation.kill_at = self._controller.service.clock.time() + (
            grace if longest is None else min(grace, longest)
        )
        self._controller.books.write()
        self._arm(incarnation)

    def _arm(self, incarnation: Incarnation) -> None:
        clock = self._controller.service.clock
        left = max(0.0, (incarnation.kill_at or 0.0) - clock.time())
        self._kill_timer = clock.call_later(left, lambda: self._controller.tasks.spawn("kill", self._kill(incarnation)))

    def disarm(self) -> None:
        """The container has ended, or the platform goes: no SIGKILL from here."""
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None

    async def destroy(self) -> None:
        """See ``Controller.destroy``."""
        controller = self._controller
        if controller.status not in DOWN and controller.incarnation is not None:
            destroying = controller.tasks.spawn("destroy", self.destroy_now(controller.incarnation), shared=True)
            await asyncio.shield(destroying)

    async def destroy_now(self, incarnation: Incarnation) -> None:
        """SIGKILL an incarnation and wait for its end, in the caller's task."""
        if not incarnation.stopping:
            self._begin(incarnation)
            incarnation.signalled.set_result(None)
        if await asyncio.shield(incarnation.spawned):
            await self._kill(incarnation)
            clock, budget = self._controller.service.clock, self._controller.service.budgets.end
            await wait_for(clock, incarnation.exited, budget)

    async def _kill(self, incarnation: Incarnation) -> None:
        if not incarnation.exited.done():
            incarnation.signals_sent.add(signal.SIGKILL)
            await self._controller.service.runtime.kill(incarnation.token)
