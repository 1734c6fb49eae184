"""A runtime for tests: containers that follow scripts, on a clock that the test moves, with real loopback listeners.

A ``FakeMachine`` holds the containers as a supervisor or an engine would: it outlives the ``FakeRuntime`` objects
that connect to it. A script is a sequence of steps; at its end the container goes on running. Everything happens in
callbacks of the event loop, in the same order each time: a step's effect is there one turn of the loop after it falls
due, events come after ``start`` has returned. Ports are bound at the start and listen from ``Listens`` on, so that
dialling one before is refused, and nobody else can have it.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from moorings.clock import Clock, SystemClock
from moorings.errors import ContainerFailedToStart, ContainerNotRunning, RuntimeUnavailable
from moorings.runtimes.base import (
    Address,
    ExecProcess,
    ExecSpec,
    Exit,
    ExitReason,
    Follow,
    Found,
    LogLine,
    LogSource,
    OnClose,
    Running,
    RuntimeEvents,
    StartSpec,
    Stats,
    Stream,
)
from moorings.runtimes.fake_container import (
    TERMINATING,
    Exits,
    FakeContainer,
    Listens,
    Prints,
    Script,
    ScriptFor,
    Serve,
    Step,
    StopsListening,
    Waits,
)
from moorings.runtimes.fake_exec import Echoes, FakeProgram, PrintsVariable, StepsFor


class FakeMachine:
    """Where fake containers live. It outlives the runtimes that connect to it, one at a time.

    ``started``, ``signals``, ``killed``, ``pauses`` and ``assigned`` record what runtimes asked for, in order.
    ``script`` is a script for every container, or a function that chooses one. ``pause_takes`` is in seconds of the
    clock; with ``pause_fails``, pausing and unpausing raise RuntimeUnavailable with that text then. ``turns``
    are the starts that are taken at a time.
    """

    def __init__(self, clock: Clock | None = None, script: Script | ScriptFor | None = None) -> None:
        self.clock = clock or SystemClock()
        self.script: Script | ScriptFor = script or Script()
        self.started: list[StartSpec] = []
        self.signals: list[tuple[str, int]] = []
        self.killed: list[str] = []
        self.assigned: list[tuple[str, str, str | None]] = []
        self.pauses: list[tuple[str, str]] = []
        self.pause_takes = 0.0
        self.pause_fails: str | None = None
        self.turns = asyncio.Semaphore(8)
        self.aborted: set[asyncio.Task[None]] = set()
        self.execs: StepsFor = lambda start, spec: [Exits(0)]
        """What programs do that are run inside a container; may raise ContainerFailedToStart."""
        self._containers: dict[str, FakeContainer] = {}
        self._latest: dict[tuple[str, str], FakeContainer] = {}  # by class and object; the last one's logs are kept
        self._pids = itertools.count(1000)
        self._runtime: FakeRuntime | None = None

    # --- for tests ----------------------------------------------------------------------------------------------------

    @property
    def running(self) -> list[str]:
        """The tokens of the containers that run, oldest first."""
        return [token for token, container in self._containers.items() if container.exit is None]

    def end(self, token: str, code: int, reason: ExitReason = ExitReason.EXIT) -> None:
        """End a container from outside: a crash, a kill -9 by somebody else (137, SIGNAL), the kernel (137, OOM)."""
        self._containers[token].end(code, reason)

    @property
    def frozen(self) -> list[str]:
        """The tokens of the containers that are paused, oldest first."""
        return [token for token in self.running if self._containers[token].is_frozen]

    @property
    def guests(self) -> list[FakeProgram]:
        """The programs that run inside containers."""
        return [guest for container in self._containers.values() for guest in container.guests]

    def follow(self, token: str, *steps: Step) -> None:
        """Give a container other steps, from now on."""
        self._containers[token].interrupt(steps)

    def accepts(self, address: Address) -> bool:
        """Whether a container listens there."""
        return any(
            container.running.addresses[port] == address
            for container in self._containers.values()
            for port in container.is_listening
        )

    def collapse(self, reason: str = "the machine went away") -> None:
        """The engine dies with all its containers, as a killed supervisor does."""
        runtime = self._runtime
        if runtime is not None and runtime.events is not None:
            runtime.events.unavailable(reason)
        for container in list(self._containers.values()):
            container.end(137, ExitReason.PLATFORM)

    # --- for the runtime ----------------------------------------------------------------------------------------------

    def connect(self, runtime: FakeRuntime) -> Found:
        if self._runtime is not None:
            raise RuntimeUnavailable("another runtime is connected to this fake machine")
        self._runtime = runtime
        containers = self._containers.values()
        return Found(
            running=[container.running for container in containers if container.exit is None],
            ended=[(container.running, container.exit) for container in containers if container.exit is not None],
        )

    def disconnect(self) -> None:
        self._runtime = None

    def add(self, spec: StartSpec, script: Script) -> FakeContainer:
        if spec.token in self._containers:
            raise ContainerFailedToStart(f"the token {spec.token} was used before")
        container = FakeContainer(self, spec, script, next(self._pids))
        self._containers[spec.token] = container
        self._latest[spec.class_name, spec.object_id] = container
        return container

    def own(self, container: FakeContainer, object_id: str, name: str | None) -> None:
        container.running = replace(container.running, object_id=object_id, name=name)
        self._latest[container.spec.class_name, object_id] = container

    def latest(self, class_name: str, object_id: str) -> FakeContainer | None:
        return self._latest.get((class_name, object_id))

    def find(self, token: str) -> FakeContainer | None:
        return self._containers.get(token)

    def forget(self, token: str) -> None:
        container = self._containers.get(token)
        if container is not None and container.exit is not None:
            del self._containers[token]

    def clear(self) -> None:
        """Kill and forget all."""
        for token, container in list(self._containers.items()):
            container.end(137, ExitReason.DESTROYED)
            del self._containers[token]

    def emit_output(self, token: str, stream: Stream, line: str) -> None:
        if self._runtime is not None and self._runtime.events is not None:
            self._runtime.events.output(token, stream, line)

    def emit_exit(self, token: str, exit: Exit) -> None:
        if self._runtime is not None and self._runtime.events is not None:
            self._runtime.events.exited(token, exit)


class FakeRuntime:
    """The ``ContainerRuntime`` seam to a FakeMachine; without one, to a new machine of its own (``machine``)."""

    def __init__(
        self,
        machine: FakeMachine | None = None,
        *,
        clock: Clock | None = None,
        script: Script | ScriptFor | None = None,
    ) -> None:
        self.machine = machine or FakeMachine(clock, script)
        self.events: RuntimeEvents | None = None
        self._is_open = False

    def name_of(self, token: str) -> str:
        return "fake"

    async def open(self, events: RuntimeEvents) -> Found:
        found = self.machine.connect(self)
        self.events = events
        self._is_open = True
        return found

    async def close(self, containers: OnClose) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if containers is OnClose.KILL:
            self.machine.clear()
        self.machine.disconnect()
        self.events = None
        aborted, self.machine.aborted = self.machine.aborted, set()
        await asyncio.gather(*aborted, return_exceptions=True)

    def turn(self, class_name: str) -> asyncio.Semaphore:
        return self.machine.turns

    async def start(self, spec: StartSpec) -> Running:
        if not self._is_open:
            raise RuntimeUnavailable("the fake runtime is not open")
        script = self.machine.script if isinstance(self.machine.script, Script) else self.machine.script(spec)
        self.machine.started.append(spec)
        if script.start_takes:
            await self.machine.clock.sleep(script.start_takes)
        if script.fails is not None:
            raise ContainerFailedToStart(script.fails)
        container = self.machine.add(spec, script)
        container.go_on()
        return container.running

    async def signal(self, token: str, signum: int) -> None:
        self.machine.signals.append((token, signum))
        container = self.machine.find(token)
        if container is None or container.exit is not None:
            return
        if signum == signal.SIGKILL:
            container.kill(ExitReason.SIGNAL)
        elif signum in container.script.on_signal:
            steps = container.script.on_signal[signum]
            if steps:
                container.when_thawed(lambda: container.interrupt(steps))
        elif signum in TERMINATING:
            container.when_thawed(lambda: container.interrupt([Exits(128 + signum, ExitReason.SIGNAL)]))

    async def kill(self, token: str) -> None:
        self.machine.killed.append(token)
        container = self.machine.find(token)
        if container is not None and container.exit is None:
            container.kill(ExitReason.DESTROYED)

    async def assign(self, token: str, object_id: str, name: str | None) -> None:
        self.machine.assigned.append((token, object_id, name))
        container = self.machine.find(token)
        if container is not None:
            self.machine.own(container, object_id, name)

    async def pause(self, token: str) -> None:
        self.machine.pauses.append(("pause", token))
        await self._changed(token, FakeContainer.freeze, frozen=False)

    async def unpause(self, token: str) -> None:
        self.machine.pauses.append(("unpause", token))
        await self._changed(token, FakeContainer.thaw, frozen=True)

    async def _changed(self, token: str, change: Callable[[FakeContainer], None], *, frozen: bool) -> None:
        if self.machine.pause_takes:
            await self.machine.clock.sleep(self.machine.pause_takes)
        if self.machine.pause_fails is not None:
            raise RuntimeUnavailable(self.machine.pause_fails)
        container = self.machine.find(token)
        if container is not None and container.exit is None and container.is_frozen is frozen:
            change(container)

    async def owns_listener(self, token: str, port: int) -> bool:
        container = self.machine.find(token)
        return container is not None and port in container.is_listening

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        container = self.machine.find(token)
        if container is None or lines <= 0:
            return ()
        return tuple(each.line for each in container.lines)[-lines:]

    async def forget(self, token: str) -> None:
        self.machine.forget(token)

    async def logs(
        self, source: LogSource, *, follow: Follow = Follow.NO, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        container = self.machine.latest(source.class_name, source.object_id)
        if container is None or source.token not in (None, container.spec.token):
            return
        lines = [line for line in container.lines if since is None or line.at >= since]
        shown = container.printed
        for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            yield line
        while follow is Follow.FOLLOW and (container.exit is None or shown < container.printed):
            if shown == container.printed:
                await container.changes.next()
            new = list(container.lines)[max(0, len(container.lines) - (container.printed - shown)) :]
            shown = container.printed
            for line in new:
                yield line

    async def exec(self, token: str, spec: ExecSpec) -> ExecProcess:
        container = self._running_container(token)
        return FakeProgram(container, spec, self.machine.execs(container.spec, spec), self.machine.clock)

    async def stats(self, token: str) -> Stats:
        container = self._running_container(token)
        return Stats(0.25, 4096, None, None, None, 1 + len(container.guests))

    def _running_container(self, token: str) -> FakeContainer:
        container = self.machine.find(token)
        if container is None or container.exit is not None:
            raise ContainerNotRunning("the container isn't running")
        return container


__all__ = [
    "Echoes",
    "Exits",
    "FakeMachine",
    "FakeRuntime",
    "Listens",
    "Prints",
    "PrintsVariable",
    "Script",
    "ScriptFor",
    "Serve",
    "Step",
    "StopsListening",
    "Waits",
]
