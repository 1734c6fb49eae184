"""The life cycle of one container: who may start it, when it ends, and which hook hears of it.

Invariants: at most one incarnation exists at a time; starts coalesce (any number of callers share one start and one
outcome, see ``starting``); every move goes through ``move``, which records it before any hook runs; starts, stops and
hooks are the controller's own tasks, so a caller that is cancelled takes nothing down with it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from moorings.containers import lifecycle
from moorings.containers.activity import Activity
from moorings.containers.bookkeeping import Bookkeeping
from moorings.containers.connections import Connections
from moorings.containers.ending import Ending
from moorings.containers.incarnation import Incarnation
from moorings.containers.lifecycle import DOWN, RUNS, UP, Move, State, Status
from moorings.containers.options import ContainerOptions, SleepAction
from moorings.containers.pausing import Pausing
from moorings.containers.probing import all_open, why_gone
from moorings.containers.records import ContainerRecord
from moorings.containers.service import ContainerService
from moorings.containers.signals import signal_number
from moorings.containers.slots import Slots
from moorings.containers.spares import SparePool
from moorings.containers.starting import Starting
from moorings.containers.waiting import first_of, wait_for
from moorings.errors import ConfigError, ContainerNotRunning, PortNotReady
from moorings.objects.activation import Activation
from moorings.objects.event import EventKind, current_event
from moorings.objects.tasks import Tasks
from moorings.observer import StateChanged, Subject
from moorings.proxy import H2Pool, UpstreamPool
from moorings.runtimes.base import Exit, ExitReason, Stats


class Controller:
    """Drives one container. Lives as long as its object is in memory; the user's instance may come and go meanwhile."""

    def __init__(
        self,
        activation: Activation,
        options: ContainerOptions,
        slots: Slots,
        spares: SparePool,
        service: ContainerService,
    ) -> None:
        self.activation = activation
        self.options = options
        self.service = service
        self.slots = slots
        self.spares = spares
        self.status = Status.STOPPED
        self.last_change = service.clock.time()
        self.exit_code: int | None = None
        self.incarnation: Incarnation | None = None
        self.warm = False
        """Whether every port that is awaited by default is warm, so that there is nothing to wait for."""
        self.warm_ports: frozenset[int] = frozenset()
        """Ports that a request may be sent to at once: seen accepting, and ``on_start`` is over."""
        self.activity = Activity(service.clock, options.sleep_after, self._idle)
        self.tasks = Tasks(activation.report)
        self.connections = Connections(activation, self.tasks)
        self.starting = Starting(self)
        self.ending = Ending(self)
        self.pausing = Pausing(self)
        self.books = Bookkeeping(self)

    # --- what the object's activation asks ---------------------------------------------------------------------------

    @property
    def subject(self) -> Subject:
        return self.activation.subject

    @property
    def active(self) -> bool:
        """Whether the object must stay in memory: something runs, starts, stops or is being announced."""
        return self.status not in DOWN or len(self.tasks) > 0

    @property
    def in_flight(self) -> int:
        """Requests in flight."""
        return self.activity.in_flight

    def begin_request(self) -> None:
        """A request is being handled by the user's code."""
        self.activity.begin()

    def end_request(self) -> None:
        """It isn't any more."""
        self.activity.end()

    def state(self) -> State:
        """The state as users see it."""
        return State(str(self.status), self.last_change, self.exit_code)

    def adopt_options(self, options: ContainerOptions) -> None:
        """Take the options of a new version of the class; a container that runs keeps those it was started with."""
        self.options = options
        self.cool()
        self.activity.sleep_after = options.sleep_after

    def cool(self) -> None:
        """From now on requests have to ask whether they may pass."""
        self.warm = False
        self.warm_ports = frozenset()

    # --- starting ---------------------------------------------------------------------------------------------------

    async def start(self, timeout: float | None = None) -> Incarnation:
        """Return once the program exists, starting it if need be.

        ``timeout`` in seconds is for a place; None means the class's ``instance_get_timeout``.

        Raises NoInstanceAvailable, ContainerFailedToStart, ContainerNotRunning (stopped meanwhile), RuntimeUnavailable.
        """
        return await self.starting.start(timeout)

    def in_hook(self) -> bool:
        """Whether a hook of this container that still runs asks, itself or through what it has called."""
        event = current_event.get()
        while event is not None:
            if event.kind is EventKind.HOOK and event.activation is self.activation:
                return self.activation.runs(event)
            event = event.parent
        return False

    def own_wait(self) -> AbstractContextManager[None]:
        """What the platform takes for this container isn't counted against the block that asks for it."""
        event = current_event.get()
        block = None if event is None else event.activation.gate.block
        return nullcontext() if block is None or block.event is not event else block.paused()

    async def ready(
        self,
        ports: Sequence[int] | None = None,
        *,
        instance_timeout: float | None = None,
        port_timeout: float | None = None,
    ) -> None:
        """Start if need be, and wait until every port accepts and ``on_start`` is over.

        The timeouts are in seconds; None means the class's. Raises what ``start`` does, PortNotReady, and
        ContainerFailedToStart where the program ends meanwhile.
        """
        awaited = self.options.awaited_ports if ports is None else ports
        for port in awaited:
            self.check_declared(port)
        self.activity.begin()  # whoever waits for a container keeps it awake
        try:
            with self.own_wait():
                incarnation = await self.start(instance_timeout)
                await self._ready(incarnation, awaited, port_timeout)
        finally:
            self.activity.end()

    async def _ready(self, incarnation: Incarnation, awaited: Sequence[int], timeout: float | None) -> None:
        closed = [port for port in awaited if port not in incarnation.open_ports]
        if closed:
            await all_open(self, incarnation, closed, timeout)
        in_hook = self.in_hook()
        if not in_hook and incarnation.on_start is not None and not incarnation.on_start.done():
            budget = self.options.port_ready_timeout if timeout is None else timeout
            await first_of(self.service.clock, [incarnation.on_start, incarnation.exited], budget)
            if not incarnation.on_start.done() and not incarnation.exited.done():
                raise PortNotReady(f"{self.subject.label}: on_start was not over after {budget:g} s")
        if not in_hook and incarnation.on_start is not None and incarnation.on_start.done():
            incarnation.on_start.result()
        if self.incarnation is not incarnation or (self.status not in UP and not in_hook):
            raise await why_gone(self, incarnation)
        if self.status is Status.RUNNING and incarnation.open_ports.issuperset(self.options.awaited_ports):
            incarnation.was_ready = True
            self.move(Move.READY)
        if not in_hook:
            self.warm_ports = frozenset(incarnation.open_ports)
            self.warm = self.warm_ports.issuperset(self.options.awaited_ports)

    def check_declared(self, port: int) -> None:
        """Raises ConfigError where the class doesn't declare a port."""
        if port not in self.options.start.ports:
            declared = ", ".join(map(str, self.options.start.ports)) or "none"
            raise ConfigError(
                f"{self.subject.class_name} doesn't declare port {port} (declared: {declared}); "
                "add it to required_ports"
            )

    # --- connections into the container -----------------------------------------------------------------------------

    def pool(self, incarnation: Incarnation, port: int) -> UpstreamPool:
        """The connections to one declared port of an incarnation that exists."""
        return incarnation.pool(port, self.service.clock)

    def h2_pool(self, incarnation: Incarnation, port: int) -> H2Pool:
        """The same for HTTP/2."""
        return incarnation.h2_pool(port, self.service.clock)

    # --- ending -----------------------------------------------------------------------------------------------------

    async def stop(self, signum: int | str = signal.SIGTERM) -> None:
        """Stop gracefully; returns once the signal is sent. Idempotent.

        ``on_stop`` runs before the signal, for up to 5 s; SIGKILL follows ``stop_grace`` after it.
        """
        with self.own_wait():
            await self.ending.stop(signal_number(signum))

    async def destroy(self) -> None:
        """SIGKILL now, without ``on_stop``; returns when the container has ended."""
        with self.own_wait():
            await self.ending.destroy()

    async def signal(self, signum: int | str) -> None:
        """Deliver a signal to the container, and change nothing else.

        Raises ContainerNotRunning, and TypeError or ValueError for what is no signal.
        """
        number = signal_number(signum)
        if self.status not in UP or self.incarnation is None:
            raise ContainerNotRunning(f"{self.subject.label} isn't running")
        incarnation = self.incarnation
        await self.pausing.thaw(incarnation)
        await self.service.runtime.signal(incarnation.token, number)

    async def stats(self) -> Stats:
        """What the container uses now. Raises ContainerNotRunning and RuntimeUnavailable."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.running is None:
            raise ContainerNotRunning(f"{self.subject.label} isn't running")
        return await self.service.runtime.stats(incarnation.token)

    def exited(self, token: str, exit: Exit) -> None:
        """The runtime reports an exit."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.token != token or incarnation.exited.done():
            return
        incarnation.exited.set_result(exit)
        if incarnation.spawned.done():
            self.ended(incarnation, exit)

    def ended(self, incarnation: Incarnation, exit: Exit) -> None:
        self.activity.disarm()
        self.ending.disarm()
        self.pausing.ended()
        self.cool()
        self.incarnation = None
        self.books.ended(incarnation.token, exit)
        recorded = self.move(lifecycle.exit_move(exit, frozenset(incarnation.signals_sent)), exit_code=exit.code)
        incarnation.end_connections()
        self.slots.release()
        self.service.unroute(incarnation.token)
        self.tasks.spawn("on_exit", self._after_exit(incarnation, exit, recorded))

    async def _after_exit(self, incarnation: Incarnation, exit: Exit, recorded: Awaitable[None] | None) -> None:
        ready = incarnation.was_ready or incarnation.open_ports.issuperset(self.options.awaited_ports)
        if not ready and not incarnation.stopping:
            error = await why_gone(self, incarnation)
            self.failed(error)
        elif incarnation.last_words is not None:
            await incarnation.last_words
        # At once, before any request can find what the instance remembers of a program that is gone.
        await self.tell_exit(incarnation.token, exit.code, exit.reason)
        if await self.books.durable(recorded):  # otherwise the runtime keeps the end for the next platform
            await self.service.runtime.forget(incarnation.token)
        await incarnation.connections_closed()

    async def tell_exit(self, token: str, code: int, reason: ExitReason) -> None:
        """Run ``on_exit``, and forget that it had to be run."""
        hook = self.announce("on_exit", lambda instance: instance.on_exit(code, str(reason)))
        await asyncio.wait([hook])
        self.books.told(token)

    # --- after a restart of the platform ------------------------------------------------------------------------------

    def restore(self, record: ContainerRecord, incarnation: Incarnation | None) -> None:
        """Take the state that was stored, and the incarnation it belongs to."""
        clock = self.service.clock
        self.books.recalled = True
        self.status, self.last_change, self.exit_code = record.status, record.last_change, record.exit_code
        self.activity.last = clock.monotonic() - max(0.0, clock.time() - record.active_at)
        self.incarnation = incarnation
        if incarnation is not None:
            self.service.route(incarnation.token, self)

    # --- sleeping -----------------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        self.tasks.spawn("on_activity_expired", self._expire())

    async def _expire(self) -> None:
        before = self.activity.renewals
        keep: Any = False
        try:
            hook = self.activation.run_hook("on_activity_expired", lambda instance: instance.on_activity_expired())
            decided, keep = await wait_for(self.service.clock, hook, self.service.budgets.hook)
            if not decided:
                hook.cancel()
                raise TimeoutError(
                    f"on_activity_expired took over {self.service.budgets.hook:g} s; the container stops"
                )
        except Exception as error:  # noqa: BLE001  # a hook that fails must not keep a container awake forever
            self.failed(error)
        if self.status not in RUNS or self.incarnation is None:
            return
        if keep:
            self.activity.renew()
            self.activity.arm()
        elif self.activity.renewals != before or self.activity.in_flight:
            self.activity.arm()
        elif self.options.sleep_action is SleepAction.PAUSE:
            await self.pausing.pause(self.incarnation)
        else:
            await self.stop()

    # --- moves and hooks ----------------------------------------------------------------------------------------------

    def move(
        self, move: Move, *, exit_code: int | None = None, write: Callable[[], Awaitable[None] | None] | None = None
    ) -> Awaitable[None] | None:
        """Make a move, record it (by ``write`` where that is given) and tell it.

        Returns what to await until the record is durable.
        """
        old = self.status
        self.status = lifecycle.after(old, move)
        self.last_change = self.service.clock.time()
        if move in (Move.START, Move.EXIT, Move.EXIT_WITH_CODE):
            self.exit_code = exit_code
        recorded = (write or self.books.write)()
        self.service.observer.notify(
            StateChanged(self.subject, str(old), str(self.status), self.exit_code, self.last_change)
        )
        return recorded

    def announce(self, label: str, invoke: Callable[[Any], Any]) -> asyncio.Task[Any]:
        """Run a hook. What it raises is reported; whoever needs its outcome may await the task as well."""
        hook = self.activation.run_hook(label, invoke)

        async def outcome() -> None:
            await hook

        self.tasks.spawn(label, outcome())
        return hook

    def failed(self, error: BaseException) -> None:
        self.announce("on_error", lambda instance: instance.on_error(error))

    async def shutdown(self) -> None:
        """End the controller's own tasks, and store the activity clock. The container itself is left as it is."""
        if self.status in UP:
            self.books.write()
        self.activity.disarm()
        self.ending.disarm()
        await self.tasks.close()
        if self.incarnation is not None:
            self.incarnation.abort_connections()
            self.service.unroute(self.incarnation.token)
            await self.incarnation.connections_closed()
