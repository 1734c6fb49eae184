"""Starting a container: one start at a time, shared by whoever needs it.

Invariants: any number of callers share one start and one outcome; the start is a task of the controller, so that a
caller that is cancelled takes nothing down with it; a program counts once its intent is durable; a start that fails
leaves no program, no place taken and no way of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from moorings.containers.incarnation import Incarnation
from moorings.containers.lifecycle import RUNS, Move, Status
from moorings.containers.options import checked_entrypoint, checked_environment
from moorings.containers.slots import Patience
from moorings.containers.spares import class_spec
from moorings.containers.waiting import first_of, wait_for
from moorings.errors import ImageGone, MooringsError, NoInstanceAvailable, RuntimeUnavailable
from moorings.runtimes.base import StartSpec

if TYPE_CHECKING:
    from moorings.containers.controller import Controller


class Starting:
    """The starts of one controller's incarnations."""

    __slots__ = ("_controller", "_patience", "_task")

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._task: asyncio.Task[Incarnation] | None = None
        self._patience: Patience | None = None

    async def start(self, timeout: float | None = None) -> Incarnation:
        """See ``Controller.start``."""
        controller = self._controller
        budget = controller.options.instance_get_timeout if timeout is None else timeout
        while True:
            incarnation = controller.incarnation
            if incarnation is not None and (controller.status in RUNS or self._stops_in_hook()):
                return incarnation
            with controller.own_wait():
                if incarnation is not None and controller.status is Status.PAUSED:
                    await controller.pausing.thaw(incarnation)
                    continue
                if self._task is None:
                    if controller.status is Status.STOPPING and incarnation is not None:
                        await self._until_ended(incarnation, budget)
                        continue
                    patience = self._patience = Patience(controller.service.clock, budget)
                    self._task = controller.tasks.spawn("start", self._start(patience), shared=True)
                return await self._outcome(self._task, self._patience, budget)

    async def _outcome(self, start: asyncio.Task[Incarnation], patience: Patience | None, budget: float) -> Incarnation:
        """The outcome of a start, or NoInstanceAvailable where it waits for a place longer than one caller does."""
        if patience is not None and not patience.over.done():
            patience.extend(budget)
            clock = self._controller.service.clock
            await first_of(clock, [start, patience.begun])
            await first_of(clock, [start, patience.over], budget)
            if not start.done() and not patience.over.done():
                raise self._controller.slots.none_free(budget)
        return await asyncio.shield(start)

    def _stops_in_hook(self) -> bool:
        """Whether ``on_stop`` asks: it may still use the container that is about to get its signal."""
        return self._controller.status is Status.STOPPING and self._controller.in_hook()

    async def _until_ended(self, incarnation: Incarnation, budget: float) -> None:
        controller = self._controller
        ended, _ = await wait_for(controller.service.clock, incarnation.exited, budget)
        if not ended:
            raise NoInstanceAvailable(f"{controller.subject.label} is still stopping after {budget:g} s")

    async def _start(self, patience: Patience) -> Incarnation:
        controller = self._controller
        images, class_name = controller.service.images, controller.subject.class_name
        try:
            await images.ready(class_name)
            try:
                return await self._attempt(patience)
            except ImageGone:  # ``docker image prune -a`` removes those of classes that sleep
                images.lost(class_name)
                await images.ready(class_name)
                patience = self._patience = Patience(controller.service.clock, patience.timeout)
                return await self._attempt(patience)
        except MooringsError as error:
            controller.failed(error)
            raise
        finally:
            self._task = None
            patience.end()

    async def _attempt(self, patience: Patience) -> Incarnation:
        """Take a spare, or a place and start one. Raises what ``start`` does, and ImageGone."""
        controller = self._controller
        spare = controller.spares.take(self._spec("")) if controller.spares.total else None
        incarnation = spare or Incarnation()
        if spare is None:
            await controller.slots.acquire(patience)
        try:
            async with self._turn(incarnation):
                if spare is None:  # the image may have changed meanwhile
                    await controller.service.images.ready(controller.subject.class_name)
                await self._spawn(incarnation)
        except BaseException:
            controller.slots.release()
            controller.service.unroute(incarnation.token)
            if controller.incarnation is incarnation:
                controller.incarnation = None
                controller.move(Move.START_FAILED)
                incarnation.spawned.set_result(False)
            raise
        return incarnation

    def _turn(self, incarnation: Incarnation) -> AbstractAsyncContextManager[object]:
        """The runtime's turn for a start; a spare that is taken needs none."""
        if incarnation.running is not None:
            return nullcontext()
        return self._controller.service.runtime.turn(self._controller.subject.class_name)

    async def _spawn(self, incarnation: Incarnation) -> None:
        controller = self._controller
        controller.incarnation = incarnation
        controller.service.route(incarnation.token, controller)
        was_spare = incarnation.running is not None
        if incarnation.running is None:
            intent = controller.move(Move.START, exit_code=None)
            starting = controller.service.runtime.start(self._spec(incarnation.token))
            incarnation.running = await self._within_budget(starting)
        else:
            intent = controller.move(Move.START, exit_code=None, write=controller.books.claim)
        if intent is not None:
            await self._intended(incarnation, intent)
        if was_spare:
            controller.tasks.spawn("assign", self._assign(incarnation))
        stopped = controller.status is Status.STOPPING
        if not stopped:
            recorded = controller.move(Move.SPAWNED)
            self.run_on_start(incarnation, None if was_spare else recorded)
            controller.activity.renew()
            controller.activity.arm()
        incarnation.spawned.set_result(True)
        if incarnation.exited.done():
            controller.ended(incarnation, incarnation.exited.result())

    async def _assign(self, incarnation: Incarnation) -> None:
        """Tell the runtime whose container a spare is now; where that is cut short, adoption does it."""
        subject, running = self._controller.subject, incarnation.running
        assert running is not None
        incarnation.running = replace(running, object_id=subject.object_id, name=subject.name)
        try:
            await self._controller.service.runtime.assign(incarnation.token, subject.object_id, subject.name)
        except RuntimeUnavailable as error:
            self._controller.activation.report("warm spare", error)

    async def _intended(self, incarnation: Incarnation, intent: Awaitable[None]) -> None:
        """The program exists; it counts once its intent is durable. Raises StoreError, and then leaves nothing."""
        runtime = self._controller.service.runtime
        try:
            await intent
        except BaseException:
            await runtime.kill(incarnation.token)
            await asyncio.shield(incarnation.exited)
            await runtime.forget(incarnation.token)
            raise

    async def _within_budget(self, starting: Any) -> Any:
        controller = self._controller
        budget = controller.service.budgets.existence
        task = asyncio.ensure_future(starting)
        try:
            done, result = await wait_for(controller.service.clock, task, budget)
        except BaseException:
            task.cancel()
            raise
        if not done:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                return task.result()  # it exists after all
            label = controller.subject.label
            raise NoInstanceAvailable(f"{label} did not exist {budget:g} s after its start was asked for")
        return result

    def _spec(self, token: str) -> StartSpec:
        controller = self._controller
        subject = controller.subject
        instance = controller.activation.instantiated()
        return replace(
            class_spec(controller.service, controller.options, token),
            object_id=subject.object_id,
            name=subject.name,
            entrypoint=checked_entrypoint(instance),
            env=checked_environment(instance, "env_vars"),
            labels=checked_environment(instance, "labels"),
        )

    def run_on_start(self, incarnation: Incarnation, recorded: Awaitable[None] | None) -> None:
        """Run ``on_start`` for an incarnation, once its state is durable; requests wait for it."""
        running = self._controller.tasks.spawn("on_start", self._on_start(incarnation, recorded), shared=True)
        incarnation.on_start = running

    async def _on_start(self, incarnation: Incarnation, recorded: Awaitable[None] | None) -> None:
        controller = self._controller
        await controller.books.durable(recorded)
        try:
            await controller.activation.run_hook("on_start", lambda instance: instance.on_start())
            incarnation.started = True
        except Exception as error:
            incarnation.start_error = error
            controller.failed(error)
            if controller.incarnation is incarnation and not incarnation.exited.done():
                await controller.ending.destroy_now(incarnation)
            raise
