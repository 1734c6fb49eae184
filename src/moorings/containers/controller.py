"""The life cycle of one container: who may start it, when it ends, and which hook hears of it.

Invariants: at most one incarnation exists at a time; starts coalesce (any number of callers share one start and one
outcome); every move goes through ``_move``, which records it before any hook runs; starts, stops and hooks are the
controller's own tasks, so a caller that is cancelled takes nothing down with it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Any

from moorings.clock import TimerHandle
from moorings.containers import lifecycle, readiness
from moorings.containers.activity import Activity
from moorings.containers.incarnation import Incarnation
from moorings.containers.lifecycle import DOWN, UP, Move, State, Status
from moorings.containers.options import ContainerOptions
from moorings.containers.service import ContainerService
from moorings.containers.slots import Slots
from moorings.containers.waiting import first_of, wait_for
from moorings.errors import (
    ConfigError,
    ContainerFailedToStart,
    ContainerNotRunning,
    MooringsError,
    NoInstanceAvailable,
    PortNotReady,
)
from moorings.http import Request
from moorings.objects.activation import Activation
from moorings.objects.event import EventKind, current_event
from moorings.objects.tasks import Tasks
from moorings.observer import StateChanged, Subject
from moorings.proxy import UpstreamPool, forward
from moorings.runtimes.base import Exit, StartSpec

TAIL_LINES = 20
"""How many of a container's last lines an error about it carries."""


class Controller:
    """Drives one container. Lives as long as its object is in memory; the user's instance may come and go meanwhile."""

    def __init__(
        self, activation: Activation, options: ContainerOptions, slots: Slots, service: ContainerService
    ) -> None:
        self.activation = activation
        self.options = options
        self.service = service
        self.slots = slots
        self.status = Status.STOPPED
        self.last_change = service.clock.time()
        self.exit_code: int | None = None
        self.incarnation: Incarnation | None = None
        self.warm_ports: frozenset[int] = frozenset()
        """Ports that a request may be sent to at once: seen accepting, and ``on_start`` is over."""
        self.activity = Activity(service.clock, options.sleep_after, self._idle)
        self.tasks = Tasks(activation.report)
        self._starting: asyncio.Task[Incarnation] | None = None
        self._kill_timer: TimerHandle | None = None

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
        self.activity.sleep_after = options.sleep_after

    # --- starting ---------------------------------------------------------------------------------------------------

    async def start(self) -> Incarnation:
        """Return once the program exists, starting it if need be.

        Raises NoInstanceAvailable, ContainerFailedToStart, ContainerNotRunning (stopped meanwhile), RuntimeUnavailable.
        """
        while True:
            incarnation = self.incarnation
            if self.status in UP and incarnation is not None:
                return incarnation
            if self._starting is None:
                if self.status is Status.STOPPING and incarnation is not None:
                    await self._until_ended(incarnation)
                    continue
                self._starting = self.tasks.spawn("start", self._start(), shared=True)
            return await asyncio.shield(self._starting)

    async def _until_ended(self, incarnation: Incarnation) -> None:
        budget = self.service.budgets.instance
        ended, _ = await wait_for(self.service.clock, incarnation.exited, budget)
        if not ended:
            raise NoInstanceAvailable(f"{self.subject.label} is still stopping after {budget:g} s")

    async def _start(self) -> Incarnation:
        incarnation = Incarnation()
        try:
            await self.slots.acquire(self.service.budgets.instance)
            try:
                await self._spawn(incarnation)
            except BaseException:
                self._starting = None
                self.slots.release()
                self.service.unroute(incarnation.token)
                if self.incarnation is incarnation:
                    self.incarnation = None
                    self._move(Move.START_FAILED)
                    incarnation.spawned.set_result(False)
                raise
        except MooringsError as error:
            self._failed(error)
            raise
        finally:
            self._starting = None
        return incarnation

    async def _spawn(self, incarnation: Incarnation) -> None:
        self.incarnation = incarnation
        self.service.route(incarnation.token, self)
        self._move(Move.START, exit_code=None)
        incarnation.running = await self._within_budget(self.service.runtime.start(self._spec(incarnation.token)))
        stopped = self.status is Status.STOPPING
        if not stopped:
            self._move(Move.SPAWNED)
            incarnation.on_start = self.tasks.spawn("on_start", self._on_start(incarnation), shared=True)
            self.activity.renew()
            self.activity.arm()
        incarnation.spawned.set_result(True)
        if incarnation.exited.done():
            self._ended(incarnation, incarnation.exited.result())

    async def _within_budget(self, starting: Any) -> Any:
        budget = self.service.budgets.instance
        task = asyncio.ensure_future(starting)
        try:
            done, result = await wait_for(self.service.clock, task, budget)
        except BaseException:
            task.cancel()
            raise
        if not done:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise NoInstanceAvailable(f"{self.subject.label} did not exist {budget:g} s after its start was asked for")
        return result

    def _spec(self, token: str) -> StartSpec:
        start = self.options.start
        instance = self.activation.instantiated()
        return StartSpec(
            token=token,
            app=self.service.app,
            class_name=self.subject.class_name,
            object_id=self.subject.object_id,
            name=self.subject.name,
            entrypoint=tuple(instance.entrypoint),
            directory=start.directory,
            ports=start.ports,
            env=dict(instance.env_vars),
            image=start.image,
            labels=dict(instance.labels),
            instance_type=start.instance_type,
            enable_internet=start.enable_internet,
        )

    async def _on_start(self, incarnation: Incarnation) -> None:
        try:
            await self.activation.run_hook("on_start", lambda instance: instance.on_start())
        except Exception as error:
            incarnation.start_error = error
            self._failed(error)
            if self.incarnation is incarnation and not incarnation.exited.done():
                await self._destroy(incarnation)
            raise

    async def ready(self, ports: Sequence[int] | None = None) -> None:
        """Start if need be, and wait until every port accepts and ``on_start`` is over.

        Raises what ``start`` does, PortNotReady after 20 s, and ContainerFailedToStart where the program ends
        meanwhile.
        """
        awaited = self.options.awaited_ports if ports is None else ports
        for port in awaited:
            self.check_declared(port)
        block = self.activation.gate.block
        event = current_event.get()
        if block is not None and event is block.event:
            with block.paused():
                await self._ready(awaited)
        else:
            await self._ready(awaited)

    async def _ready(self, awaited: Sequence[int]) -> None:
        incarnation = await self.start()
        for port in awaited:
            if port not in incarnation.open_ports and port not in incarnation.probes:
                incarnation.probes[port] = self.tasks.spawn("probe", self._probe(incarnation, port), shared=True)
        for port in awaited:
            if port not in incarnation.open_ports:
                await asyncio.shield(incarnation.probes[port])
        event = current_event.get()
        in_hook = event is not None and event.kind is EventKind.HOOK and event.activation is self.activation
        if not in_hook and incarnation.on_start is not None and not incarnation.on_start.done():
            await first_of(self.service.clock, [incarnation.on_start, incarnation.exited])
        if not in_hook and incarnation.on_start is not None and incarnation.on_start.done():
            incarnation.on_start.result()
        if self.incarnation is not incarnation or self.status not in UP:
            raise await self._gone(incarnation)
        if self.status is Status.RUNNING and incarnation.open_ports.issuperset(self.options.awaited_ports):
            self._move(Move.READY)
        if not in_hook:
            self.warm_ports = frozenset(incarnation.open_ports)

    def check_declared(self, port: int) -> None:
        """Raises ConfigError where the class doesn't declare a port."""
        if port not in self.options.start.ports:
            declared = ", ".join(map(str, self.options.start.ports)) or "none"
            raise ConfigError(
                f"{self.subject.class_name} doesn't declare port {port} (declared: {declared}); "
                "add it to required_ports"
            )

    async def _probe(self, incarnation: Incarnation, port: int) -> None:
        running = incarnation.running
        assert running is not None
        address = running.addresses[port]
        stolen = False

        async def check() -> bool:
            nonlocal stolen
            if not await readiness.accepts(address):
                return False
            stolen = not await self.service.runtime.owns_listener(incarnation.token, port)
            if stolen:
                return False
            return self.options.ping_endpoint is None or await self._ping(incarnation, port)

        try:
            budget = self.service.budgets.ports
            outcome = await readiness.wait_until_ready(
                check, exited=incarnation.exited, timeout=budget, clock=self.service.clock
            )
        finally:
            incarnation.probes.pop(port, None)
        match outcome:
            case readiness.Outcome.READY:
                incarnation.open_ports.add(port)
            case readiness.Outcome.EXITED:
                raise await self._gone(incarnation)
            case readiness.Outcome.TIMED_OUT:
                why = "a process that is not the container's listens there" if stolen else "nothing accepts connections"
                raise PortNotReady(
                    f"{self.subject.label}: port {port} was not ready {budget:g} s after its start: {why} on "
                    f"{address.host}:{address.port}; does the program listen on the port that PORT_{port} names?"
                )

    async def _ping(self, incarnation: Incarnation, port: int) -> bool:
        if port != self.options.fetch_port:
            return True
        request = Request(f"http://container/{(self.options.ping_endpoint or '').lstrip('/')}")
        try:
            response = await forward(request, self.pool(incarnation, port))
            await response.bytes()
        except MooringsError:
            return False
        return True

    async def _gone(self, incarnation: Incarnation) -> Exception:
        """Why an incarnation that was waited for isn't there."""
        if incarnation.start_error is not None:
            return incarnation.start_error
        if incarnation.stopping or not incarnation.exited.done():
            return ContainerNotRunning(f"{self.subject.label} was stopped while it was starting; try again")
        exit = incarnation.exited.result()
        if incarnation.last_words is None:
            tail = self.service.runtime.tail(incarnation.token, TAIL_LINES)
            incarnation.last_words = self.tasks.spawn("tail", tail, shared=True)
        return ContainerFailedToStart(
            f"{self.subject.label} ended with exit code {exit.code} ({exit.reason}) before it was ready",
            exit_code=exit.code,
            output=await asyncio.shield(incarnation.last_words),
        )

    # --- connections into the container -----------------------------------------------------------------------------

    def pool(self, incarnation: Incarnation, port: int) -> UpstreamPool:
        """The connections to one declared port of an incarnation that exists."""
        pool = incarnation.pools.get(port)
        if pool is None:
            assert incarnation.running is not None
            address = incarnation.running.addresses[port]
            pool = incarnation.pools[port] = UpstreamPool(address.host, address.port, clock=self.service.clock)
        return pool

    # --- ending -------------------------------------------------------------------------------------------------------

    async def stop(self, signum: int = signal.SIGTERM) -> None:
        """Stop gracefully; returns once the signal is sent. Idempotent. ``on_stop`` runs before the signal, for up
        to 5 s.
        """
        incarnation = self.incarnation
        if self.status in DOWN or incarnation is None:
            return
        if not incarnation.stopping:
            incarnation.stopping = True
            self.warm_ports = frozenset()
            self.activity.disarm()
            self._move(Move.STOP)
            self.tasks.spawn("stop", self._stop(incarnation, signum))
        event = current_event.get()
        if event is None or event.kind is not EventKind.HOOK or event.label != "on_stop":
            await asyncio.shield(incarnation.signalled)

    async def _stop(self, incarnation: Incarnation, signum: int) -> None:
        try:
            if await asyncio.shield(incarnation.spawned) and not incarnation.exited.done():
                hook = self.activation.run_hook("on_stop", lambda instance: instance.on_stop())
                self.tasks.spawn("on_stop", self._outcome(hook))
                await first_of(self.service.clock, [hook, incarnation.exited], self.service.budgets.on_stop)
                incarnation.signals_sent.add(signum)
                await self.service.runtime.signal(incarnation.token, signum)
                self._arm_kill(incarnation)
        finally:
            if not incarnation.signalled.done():
                incarnation.signalled.set_result(None)

    def _arm_kill(self, incarnation: Incarnation) -> None:
        if incarnation.exited.done():
            return
        grace = self.options.stop_grace
        if self.service.budgets.longest_stop_grace is not None:
            grace = min(grace, self.service.budgets.longest_stop_grace)
        self._kill_timer = self.service.clock.call_later(
            grace, lambda: self.tasks.spawn("kill", self._kill(incarnation))
        )

    async def destroy(self) -> None:
        """SIGKILL now, without ``on_stop``; returns when the container has ended."""
        if self.status not in DOWN and self.incarnation is not None:
            await asyncio.shield(self.tasks.spawn("destroy", self._destroy(self.incarnation), shared=True))

    async def _destroy(self, incarnation: Incarnation) -> None:
        if not incarnation.stopping:
            incarnation.stopping = True
            self.warm_ports = frozenset()
            self.activity.disarm()
            self._move(Move.STOP)
            incarnation.signalled.set_result(None)
        if await asyncio.shield(incarnation.spawned):
            await self._kill(incarnation)
            await wait_for(self.service.clock, incarnation.exited, self.service.budgets.instance)

    async def _kill(self, incarnation: Incarnation) -> None:
        if not incarnation.exited.done():
            incarnation.signals_sent.add(signal.SIGKILL)
            await self.service.runtime.kill(incarnation.token)

    async def signal(self, signum: int) -> None:
        """Deliver a signal to the container, and change nothing else. Raises ContainerNotRunning."""
        if self.status not in UP or self.incarnation is None:
            raise ContainerNotRunning(f"{self.subject.label} isn't running")
        await self.service.runtime.signal(self.incarnation.token, signum)

    def exited(self, token: str, exit: Exit) -> None:
        """The runtime reports an exit."""
        incarnation = self.incarnation
        if incarnation is None or incarnation.token != token or incarnation.exited.done():
            return
        incarnation.exited.set_result(exit)
        if incarnation.spawned.done():
            self._ended(incarnation, exit)

    def _ended(self, incarnation: Incarnation, exit: Exit) -> None:
        self.activity.disarm()
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None
        self.warm_ports = frozenset()
        self.incarnation = None
        self._move(lifecycle.exit_move(exit, frozenset(incarnation.signals_sent)), exit_code=exit.code)
        incarnation.abort_connections()
        self.slots.release()
        self.service.unroute(incarnation.token)
        self.tasks.spawn("on_exit", self._after_exit(incarnation, exit))

    async def _after_exit(self, incarnation: Incarnation, exit: Exit) -> None:
        never_ready = not incarnation.open_ports.issuperset(self.options.awaited_ports)
        if never_ready and not incarnation.stopping:
            error = await self._gone(incarnation)
            self._failed(error)
        elif incarnation.last_words is not None:
            await incarnation.last_words
        self._announce("on_exit", lambda instance: instance.on_exit(exit.code, str(exit.reason)))
        await self.service.runtime.forget(incarnation.token)

    # --- sleeping -----------------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        self.tasks.spawn("on_activity_expired", self._expire())

    async def _expire(self) -> None:
        before = self.activity.renewals
        keep: Any = False
        try:
            keep = await self.activation.run_hook(
                "on_activity_expired", lambda instance: instance.on_activity_expired()
            )
        except Exception as error:  # noqa: BLE001  # a hook that fails must not keep a container awake forever
            self._failed(error)
        if self.status not in UP:
            return
        if keep:
            self.activity.renew()
            self.activity.arm()
        elif self.activity.renewals != before or self.activity.in_flight:
            self.activity.arm()
        else:
            await self.stop()

    # --- moves and hooks ----------------------------------------------------------------------------------------------

    def _move(self, move: Move, *, exit_code: int | None = None) -> None:
        old = self.status
        self.status = lifecycle.after(old, move)
        self.last_change = self.service.clock.time()
        if move in (Move.START, Move.EXIT, Move.EXIT_WITH_CODE):
            self.exit_code = exit_code
        self.service.journal.record(self.subject, self.state(), self.incarnation)
        self.service.observer.notify(
            StateChanged(self.subject, str(old), str(self.status), self.exit_code, self.last_change)
        )

    def _announce(self, label: str, invoke: Callable[[Any], Any]) -> None:
        self.tasks.spawn(label, self._outcome(self.activation.run_hook(label, invoke)))

    def _failed(self, error: BaseException) -> None:
        self._announce("on_error", lambda instance: instance.on_error(error))

    async def _outcome(self, hook: asyncio.Task[Any]) -> None:
        """Own a hook's task: what it raises is reported by the owner of this one."""
        await hook

    async def shutdown(self) -> None:
        """End the controller's own tasks. The container itself is left as it is."""
        self.activity.disarm()
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        await self.tasks.close()
        if self.incarnation is not None:
            self.incarnation.abort_connections()
            self.service.unroute(self.incarnation.token)
