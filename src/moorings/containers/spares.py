"""Warm spares: containers of a class that run, accept, and belong to no object yet (``warm_spares = n``).

The first request to a name takes one where it would have started the very same. A spare is in the store from before it
is started; taking it moves it to its object's row, in one commit, before anything is handed to it. So whenever the
platform dies it is a spare, or one object's, or nobody's and is removed.

Invariants: a spare has a place (``max_instances``) from before it is started until it has ended or is taken, takes only
one that nobody waits for, and is killed where somebody does; one that fails or dies is replaced after a pause that
doubles; no more than ``AT_ONCE`` of a class are started at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from moorings.clock import TimerHandle
from moorings.containers.incarnation import Incarnation
from moorings.containers.options import ContainerOptions, StartOptions
from moorings.containers.probing import probe, why_gone
from moorings.containers.records import SpareRecord
from moorings.containers.service import ContainerService
from moorings.containers.slots import Slots
from moorings.containers.waiting import wait_for
from moorings.errors import ContainerFailedToStart, ImageGone, MooringsError, NoInstanceAvailable, StoreError
from moorings.objects.tasks import Tasks
from moorings.observer import ErrorReported, Notice, Subject
from moorings.runtimes.base import Exit, Running, StartSpec

AT_ONCE = 2
"""How many spares of a class are started at a time."""

AFTER_CLAIM = 0.2
"""Seconds after one was taken until the next is started: whoever took it goes first."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until one that failed is replaced: the first time, and at most."""

STEADY = 60.0
"""Seconds that a spare must have been ready for its end not to count as one more failure in a row."""


def class_spec(service: ContainerService, options: ContainerOptions, token: str) -> StartSpec:
    """What a class's container is started with where its object changes nothing, and is not known yet.

    The class's image must be there.
    """
    start = options.start
    return StartSpec(
        token=token,
        app=service.app,
        class_name=options.class_name,
        object_id="",
        name=None,
        entrypoint=start.entrypoint,
        directory=start.directory,
        ports=start.ports,
        env=dict(start.env_vars),
        image=service.images.name(options.class_name) or start.image,
        labels=dict(start.labels),
        instance_type=start.instance_type,
        enable_internet=start.enable_internet,
        size=start.size,
        sandbox=start.sandbox,
    )


def fingerprint(spec: StartSpec) -> str:
    """The same for what is started alike, in every life of the platform."""
    env, labels = sorted(spec.env.items()), sorted(spec.labels.items())
    told = repr((replace(spec, token="", env={}, labels={}), env, labels))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


class Spare:
    """One container that belongs to nobody yet. An occupant of ``Slots``."""

    __slots__ = ("_pool", "incarnation", "making", "ready_at", "spec", "start")

    rank = 0

    def __init__(self, pool: SparePool, incarnation: Incarnation, start: StartOptions) -> None:
        self._pool = pool
        self.incarnation = incarnation
        self.start = start
        self.spec: StartSpec | None = None
        """What it was started with; None before."""
        self.making: asyncio.Task[None] | None = None
        self.ready_at: float | None = None

    def fits(self, wanted: StartSpec) -> bool:
        """Whether it runs, and is what would be started."""
        spec = self.spec
        if spec is None or not self.incarnation.spawned.done() or self.incarnation.exited.done():
            return False
        return replace(wanted, token=spec.token, object_id=spec.object_id, name=spec.name) == spec

    def give_way(self) -> asyncio.Future[None]:
        """See ``Occupant``."""
        return self._pool.dismiss(self)


class SparePool:
    """The spares of one class. Does nothing before ``open``."""

    def __init__(self, options: ContainerOptions, slots: Slots, service: ContainerService) -> None:
        self.options = options
        self.service = service
        self.subject = Subject(options.class_name, "", "(spare)")
        self.tasks = Tasks(self._report)
        self._slots = slots
        self._spares: dict[str, Spare] = {}
        self._leaving: dict[str, Incarnation] = {}
        self._failures = 0
        self._resting: TimerHandle | None = None
        self._is_open = False

    @property
    def ready(self) -> int:
        """How many could be taken now."""
        return sum(spare.ready_at is not None for spare in self._spares.values())

    @property
    def total(self) -> int:
        """How many there are, those that are being started among them."""
        return len(self._spares)

    # --- keeping n ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to keep as many as the class wants."""
        self._is_open = True
        self._slots.on_free = self._fill
        self._fill()

    def hold(self) -> None:
        """Start none any more: the platform is about to stop."""
        self._is_open = False
        self._slots.on_free = None
        self._rest(0.0)

    def adopt_options(self, options: ContainerOptions | None) -> None:
        """Take the options of a new version of the class, None where it is gone: outdated spares are replaced."""
        outdated = [spare for spare in self._spares.values() if options is None or spare.start != options.start]
        if options is not None:
            if self.options.start != options.start:
                self._failures = 0
                self._rest(0.0)
            self.options = options
        wanted = 0 if options is None else options.warm_spares
        surplus = [spare for spare in self._spares.values() if spare not in outdated][wanted:]
        for spare in [*outdated, *surplus]:
            self.dismiss(spare)
        self._is_open = self._is_open and options is not None
        self._fill()

    def replace_older(self, before: float) -> None:
        """Replace what was started before a Unix time: its program's files have changed since."""
        for spare in list(self._spares.values()):
            running = spare.incarnation.running
            if running is None or running.started_at < before:
                self.dismiss(spare)
        self._fill()

    def _fill(self) -> None:
        if not self._is_open or self._resting is not None:
            return
        starting = self.total - self.ready
        while self.total < self.options.warm_spares and starting < AT_ONCE and self._slots.acquire_now():
            starting += 1
            spare = self._add(Incarnation())
            spare.making = self.tasks.spawn("spare", self._make(spare))

    def _rest(self, seconds: float) -> None:
        """Start none for some seconds."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if seconds:
            self._resting = self.service.clock.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._fill()

    def _add(self, incarnation: Incarnation) -> Spare:
        spare = Spare(self, incarnation, self.options.start)
        self._spares[incarnation.token] = spare
        self.service.route_spare(incarnation.token, self)
        self._slots.offer(spare)
        return spare

    # --- one spare ----------------------------------------------------------------------------------------------------

    async def _make(self, spare: Spare) -> None:
        incarnation = spare.incarnation
        try:
            if incarnation.running is None:
                await self.service.images.ready(self.options.class_name)
                async with self.service.runtime.turn(self.options.class_name):
                    await self.service.images.ready(self.options.class_name)  # it may have changed meanwhile
                    spec = spare.spec = class_spec(self.service, self.options, incarnation.token)
                    self.service.records.spare(SpareRecord(spec.token, spec.class_name, fingerprint(spec)))
                    await self._start(spare, spec)
                incarnation.spawned.set_result(True)
            for port in self.options.awaited_ports:
                await probe(self, incarnation, port, self.options.port_ready_timeout)
            if incarnation.exited.done():
                raise await why_gone(self, incarnation)
        except MooringsError as error:
            if isinstance(error, ImageGone):
                self.service.images.lost(self.options.class_name)
            spare.making = None
            if self._spares.get(incarnation.token) is spare:
                self._failed(error)
                await self.dismiss(spare)
            return
        spare.making = None
        spare.ready_at = self.service.clock.monotonic()
        self._fill()

    async def _start(self, spare: Spare, spec: StartSpec) -> None:
        budget = self.service.budgets.existence
        starting = asyncio.ensure_future(self.service.runtime.start(spec))
        try:
            done, _ = await wait_for(self.service.clock, starting, budget)
            if not done:
                raise NoInstanceAvailable(f"it did not exist {budget:g} s after its start was asked for")
        finally:
            starting.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                spare.incarnation.running = starting.result()  # also where it was cancelled too late

    def exited(self, token: str, exit: Exit) -> None:
        """The runtime reports an exit."""
        spare = self._spares.get(token)
        incarnation = self._leaving.get(token) if spare is None else spare.incarnation
        if incarnation is None or incarnation.exited.done():
            return
        incarnation.exited.set_result(exit)
        if spare is not None and spare.ready_at is not None:
            if self.service.clock.monotonic() - spare.ready_at >= STEADY:
                self._failures = 0
            reason = f"it ended with exit code {exit.code} ({exit.reason}) before anybody needed it"
            self._failed(ContainerFailedToStart(reason, exit_code=exit.code))
            self.dismiss(spare)

    def dismiss(self, spare: Spare) -> asyncio.Task[None]:
        """Kill a spare; done when it has ended and its place was released."""
        token = spare.incarnation.token
        self._spares.pop(token, None)
        self._slots.withdraw(spare)
        self._leaving[token] = spare.incarnation
        return self.tasks.spawn("spare ends", self._end(spare))

    async def _end(self, spare: Spare) -> None:
        incarnation = spare.incarnation
        runtime = self.service.runtime
        try:
            making = spare.making
            if making is not None:
                making.cancel()
                await asyncio.wait([making])
            incarnation.abort_connections()
            if incarnation.running is not None:
                if not incarnation.exited.done():
                    await runtime.kill(incarnation.token)
                    await wait_for(self.service.clock, incarnation.exited, self.service.budgets.end)
                await runtime.forget(incarnation.token)
            self._stored(lambda: self.service.records.no_spare(incarnation.token))
            await incarnation.connections_closed()
        finally:
            self.service.unroute_spare(incarnation.token)
            self._leaving.pop(incarnation.token, None)
            self._slots.release()

    def _failed(self, error: BaseException) -> None:
        """One came to nothing: say so, and try again after a while."""
        self._failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        self._rest(pause)
        detail = "\n".join(getattr(error, "output", ()) or ())
        message = f"{self.options.class_name}: a warm spare failed: {error}; the next is started in {pause:g} s"
        self.service.observer.notify(Notice("warning", message, detail))

    # --- taking one ---------------------------------------------------------------------------------------------------

    def take(self, spec: StartSpec) -> Incarnation | None:
        """A spare that is just what ``spec`` would start, its place included; None where there is none.

        One that is ready if possible, else one that runs already: its ports are then waited for as after any start.
        """
        fitting = [spare for spare in self._spares.values() if spare.fits(spec)]
        if not fitting:
            return None
        spare = next((spare for spare in fitting if spare.ready_at is not None), fitting[0])
        incarnation = spare.incarnation
        if spare.making is not None:
            spare.making.cancel()
        del self._spares[incarnation.token]
        self._slots.withdraw(spare)
        self.service.unroute_spare(incarnation.token)
        incarnation.spawned = asyncio.get_running_loop().create_future()
        if spare.ready_at is not None:
            self._failures = 0
        if self._resting is None:
            self._rest(AFTER_CLAIM)
        return incarnation

    # --- after a restart of the platform ------------------------------------------------------------------------------

    def restore(self, record: SpareRecord, running: Running) -> bool:
        """Keep a spare that runs; it is ready again once its ports have been seen to accept.

        False where it is not what this version of the class would start, or one too many.
        """
        spec = class_spec(self.service, self.options, record.token)
        if record.options != fingerprint(spec) or self.total >= self.options.warm_spares:
            return False
        incarnation = Incarnation(record.token)
        incarnation.running = running
        incarnation.spawned.set_result(True)
        self._slots.take()
        spare = self._add(incarnation)
        spare.spec = spec
        spare.making = self.tasks.spawn("spare", self._make(spare))
        return True

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the pool's own tasks; spares that run are left as they are, to be found by the next platform."""
        self.hold()
        await self.tasks.close()
        for token, spare in self._spares.items():
            spare.incarnation.abort_connections()
            self.service.unroute_spare(token)
            await spare.incarnation.connections_closed()
        self._spares.clear()

    # --- reports ------------------------------------------------------------------------------------------------------

    def _stored(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except StoreError as error:
            self._report("spare", error)

    def _report(self, where: str, error: BaseException) -> None:
        self.service.observer.notify(ErrorReported(where, error, self.subject))
