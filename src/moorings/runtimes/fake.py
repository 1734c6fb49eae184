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
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from moorings.clock import Clock, SystemClock, TimerHandle
from moorings.errors import ContainerFailedToStart, RuntimeUnavailable
from moorings.runtimes.base import (
    Address,
    Exit,
    ExitReason,
    Found,
    OnClose,
    Running,
    RuntimeEvents,
    StartSpec,
    Stream,
)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


# --- scripts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prints:
    """Prints a line."""

    line: str
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True)
class Waits:
    """Does nothing for some seconds of the clock."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Listens:
    """Accepts connections on a declared port; ``serve`` handles each, without it they stay open and silent."""

    port: int
    serve: Serve | None = None


@dataclass(frozen=True, slots=True)
class StopsListening:
    """Closes a port, and the connections on it."""

    port: int


@dataclass(frozen=True, slots=True)
class Exits:
    """Ends."""

    code: int = 0
    reason: ExitReason = ExitReason.EXIT


Step = Prints | Waits | Listens | StopsListening | Exits

_TERMINATING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2})


@dataclass(frozen=True, slots=True)
class Script:
    """What a container does.

    ``on_signal`` replaces a signal's default (which ends it) by further steps, none to ignore it. ``start_takes`` is in
    seconds of the clock; with ``fails``, ``start`` raises ContainerFailedToStart with that text then.
    """

    steps: Sequence[Step] = ()
    on_signal: Mapping[int, Sequence[Step]] = field(default_factory=dict)
    start_takes: float = 0.0
    fails: str | None = None


ScriptFor = Callable[[StartSpec], Script]


# --- the machine ------------------------------------------------------------------------------------------------------


class _FakeContainer:
    """One incarnation on the machine."""

    def __init__(self, machine: FakeMachine, spec: StartSpec, script: Script, pid: int) -> None:
        self.spec = spec
        self.script = script
        self.exit: Exit | None = None
        self.lines: deque[str] = deque(maxlen=1000)
        self.is_listening: set[int] = set()
        self._machine = machine
        self._steps: deque[Step] = deque(script.steps)
        self._timer: TimerHandle | asyncio.Handle | None = None
        self._sockets = {port: _bound() for port in dict.fromkeys(spec.ports)}
        self._servers: dict[int, _Server] = {}
        self.running = Running(
            token=spec.token,
            class_name=spec.class_name,
            object_id=spec.object_id,
            name=spec.name,
            addresses={port: Address(*bound.getsockname()) for port, bound in self._sockets.items()},
            started_at=machine.clock.time(),
            pid=pid,
        )

    def go_on(self) -> None:
        """Take the next step on the next turn of the loop."""
        self._timer = asyncio.get_running_loop().call_soon(self._step)

    def interrupt(self, steps: Sequence[Step]) -> None:
        """Follow other steps from now on."""
        self._cancel()
        self._steps = deque(steps)
        self.go_on()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        while self._steps and self.exit is None:
            step = self._steps.popleft()
            match step:
                case Prints(line, stream):
                    self.lines.append(line)
                    self._machine.emit_output(self.spec.token, stream, line)
                case Waits(seconds):
                    self._timer = self._machine.clock.call_later(seconds, self._step)
                    return
                case Listens(port, serve):
                    self._listen(port, serve)
                case StopsListening(port):
                    self._stop_listening(port)
                case Exits(code, reason):
                    self.end(code, reason)

    def _listen(self, port: int, serve: Serve | None) -> None:
        bound = self._sockets[port]
        bound.listen(1024)
        self.is_listening.add(port)
        if serve is not None:
            self._servers[port] = _Server(bound, serve)

    def _stop_listening(self, port: int) -> None:
        server = self._servers.pop(port, None)
        if server is not None:
            self._machine.aborted |= server.close()
        address = self._sockets[port].getsockname()
        self._sockets[port].close()
        self.is_listening.discard(port)
        self._sockets[port] = _bound(address)

    def end(self, code: int, reason: ExitReason) -> None:
        """It is over: the ports refuse, the exit is told."""
        if self.exit is not None:
            return
        self._cancel()
        self.exit = Exit(code, reason, self._machine.clock.time())
        self.is_listening.clear()
        for server in self._servers.values():
            self._machine.aborted |= server.close()
        for bound in self._sockets.values():
            bound.close()
        self._machine.emit_exit(self.spec.token, self.exit)


class _Server:
    """Accepts on a listening socket with the loop's reader callbacks, so that it stands the moment it is made."""

    def __init__(self, listening: socket.socket, serve: Serve) -> None:
        self._listening = listening
        self._serve = serve
        self._handlers: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        listening.setblocking(False)
        self._loop.add_reader(listening.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        handler = self._loop.create_task(self._handle(connection))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _handle(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            with suppress(ConnectionError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()

    def close(self) -> set[asyncio.Task[None]]:
        """Accept no more, and abort what there is. Returns the handlers that are still ending."""
        self._loop.remove_reader(self._listening.fileno())
        for handler in self._handlers:
            handler.cancel()
        return set(self._handlers)


class FakeMachine:
    """Where fake containers live. It outlives the runtimes that connect to it, one at a time.

    ``started``, ``signals`` and ``killed`` record what runtimes asked for, in order. ``script`` is a script for every
    container, or a function that chooses one.
    """

    def __init__(self, clock: Clock | None = None, script: Script | ScriptFor | None = None) -> None:
        self.clock = clock or SystemClock()
        self.script: Script | ScriptFor = script or Script()
        self.started: list[StartSpec] = []
        self.signals: list[tuple[str, int]] = []
        self.killed: list[str] = []
        self.aborted: set[asyncio.Task[None]] = set()
        self._containers: dict[str, _FakeContainer] = {}
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

    def add(self, spec: StartSpec, script: Script) -> _FakeContainer:
        if spec.token in self._containers:
            raise ContainerFailedToStart(f"the token {spec.token} was used before")
        container = _FakeContainer(self, spec, script, next(self._pids))
        self._containers[spec.token] = container
        return container

    def find(self, token: str) -> _FakeContainer | None:
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

    @property
    def name(self) -> str:
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
            container.interrupt([Exits(137, ExitReason.SIGNAL)])
        elif signum in container.script.on_signal:
            steps = container.script.on_signal[signum]
            if steps:
                container.interrupt(steps)
        elif signum in _TERMINATING:
            container.interrupt([Exits(128 + signum, ExitReason.SIGNAL)])

    async def kill(self, token: str) -> None:
        self.machine.killed.append(token)
        container = self.machine.find(token)
        if container is not None and container.exit is None:
            container.interrupt([Exits(137, ExitReason.DESTROYED)])

    async def owns_listener(self, token: str, port: int) -> bool:
        container = self.machine.find(token)
        return container is not None and port in container.is_listening

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        container = self.machine.find(token)
        return tuple(container.lines)[-lines:] if container is not None and lines > 0 else ()

    async def forget(self, token: str) -> None:
        self.machine.forget(token)


def _bound(address: tuple[str, int] = ("127.0.0.1", 0)) -> socket.socket:
    """A loopback socket that is bound and refuses connections, because it does not listen."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if address[1]:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


__all__ = [
    "Exits",
    "FakeMachine",
    "FakeRuntime",
    "Listens",
    "Prints",
    "Script",
    "Serve",
    "StopsListening",
    "Waits",
]
