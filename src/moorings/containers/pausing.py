"""Freezing an idle container instead of stopping it, and thawing it when it is needed (``sleep_action = "pause"``).

Invariants: a container is frozen only while nothing is in flight, and its state says ``paused``, recorded, before it
is; whoever needs it waits for one thaw that all share; ``Incarnation.frozen`` is true from before the runtime is asked
to freeze it until the runtime has thawed it, whatever the state. Where a platform died in between, what the runtime
says holds (``adopted``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from moorings.containers.lifecycle import UP, Move, Status
from moorings.containers.waiting import first_of
from moorings.errors import MooringsError
from moorings.observer import ErrorReported

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.incarnation import Incarnation

PARTING = 5.0
"""Seconds that WebSockets have to end before their container is frozen."""


class Pausing:
    """The pauses of one controller's incarnations. An occupant of ``Slots`` that gives way while it is paused."""

    __slots__ = ("_controller", "_freezing", "_thawing")

    rank = 1
    """Of those that could give way, spares go first."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._freezing: asyncio.Task[None] | None = None
        self._thawing: asyncio.Task[None] | None = None

    # --- freezing

    async def pause(self, incarnation: Incarnation) -> None:
        """Freeze an idle container, unless something happens before: then its idle period begins anew.

        Its WebSockets are closed with 1001 first: nobody would answer their pings. One that can't be frozen is stopped.
        """
        controller = self._controller
        if incarnation.on_start is not None and not incarnation.on_start.done():
            controller.activity.renew()
            controller.activity.arm()
            return
        before = controller.activity.renewals
        if incarnation.tunnels:
            await self._part(incarnation)
        if controller.incarnation is not incarnation or controller.status not in UP:
            return
        activity = controller.activity
        if activity.renewals != before or activity.in_flight or incarnation.tunnels or self._freezing is not None:
            activity.arm()
            return
        controller.cool()
        controller.activity.disarm()
        recorded = controller.move(Move.PAUSE)
        controller.slots.offer(self)
        self._freezing = controller.tasks.spawn("pause", self._freeze(incarnation, recorded), shared=True)
        try:
            await asyncio.shield(self._freezing)
        except MooringsError as error:
            controller.failed(error)
            if controller.incarnation is incarnation and controller.status is Status.PAUSED:
                await controller.stop()

    async def _part(self, incarnation: Incarnation) -> None:
        """Close what is tunnelled: nobody would answer there."""
        for tunnel in list(incarnation.tunnels):
            tunnel.go_away()
        await first_of(self._controller.service.clock, [incarnation.parted(), incarnation.exited], PARTING)
        for tunnel in list(incarnation.tunnels):
            tunnel.abort()
        if incarnation.tunnels:
            await first_of(self._controller.service.clock, [incarnation.parted(), incarnation.exited], PARTING)

    async def _freeze(self, incarnation: Incarnation, recorded: Awaitable[None] | None) -> None:
        controller = self._controller
        try:
            await controller.books.durable(recorded)
            if controller.status is Status.PAUSED and self._thawing is None and not incarnation.exited.done():
                incarnation.frozen = True
                await controller.service.runtime.pause(incarnation.token)
        finally:
            self._freezing = None

    # --- thawing

    async def thaw(self, incarnation: Incarnation) -> None:
        """Return once a container that is frozen, or about to be, runs again.

        Raises RuntimeUnavailable and what else the runtime does.
        """
        if self._thawing is None:
            if not incarnation.frozen and self._controller.status is not Status.PAUSED:
                return
            self._thawing = self._controller.tasks.spawn("thaw", self._thaw(incarnation), shared=True)
        await asyncio.shield(self._thawing)

    async def _thaw(self, incarnation: Incarnation) -> None:
        controller = self._controller
        try:
            if incarnation.frozen and self._freezing is not None:
                await asyncio.wait([self._freezing])
            if incarnation.frozen and not incarnation.exited.done():
                await controller.service.runtime.unpause(incarnation.token)
                incarnation.frozen = False
            if controller.incarnation is incarnation and controller.status is Status.PAUSED:
                controller.slots.withdraw(self)
                controller.move(Move.THAW)
                controller.activity.renew()
                controller.activity.arm()
        finally:
            self._thawing = None

    async def thaw_to_end(self, incarnation: Incarnation) -> None:
        """Let a container that is to be stopped run, so that it can end; SIGKILL reaches it also where that fails."""
        controller = self._controller
        controller.slots.withdraw(self)
        try:
            await self.thaw(incarnation)
        except MooringsError as error:
            controller.service.observer.notify(ErrorReported("thaw", error, controller.subject))

    # --- others

    def adopted(self, incarnation: Incarnation) -> None:
        """The state and the runtime may say different things after a crash: the state follows what the runtime found.

        For one that is stopping, ``thaw_to_end`` follows.
        """
        controller = self._controller
        incarnation.frozen = incarnation.running is not None and incarnation.running.paused
        if controller.status is Status.STOPPING:
            return
        if incarnation.frozen and controller.status is not Status.PAUSED:
            controller.move(Move.PAUSE)
        elif not incarnation.frozen and controller.status is Status.PAUSED:
            controller.move(Move.THAW)
        if incarnation.frozen:
            controller.slots.offer(self)

    def ended(self) -> None:
        """The container has ended, paused or not."""
        self._controller.slots.withdraw(self)

    def give_way(self) -> asyncio.Task[None]:
        """Somebody waits for a place that a paused container has: it is stopped, as an idle one is."""
        return self._controller.tasks.spawn("give way", self._give_way(), shared=True)

    async def _give_way(self) -> None:
        controller = self._controller
        incarnation = controller.incarnation
        if incarnation is not None and controller.status is Status.PAUSED:
            await controller.stop()
            await asyncio.shield(incarnation.exited)
