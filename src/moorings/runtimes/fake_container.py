"""What the scripted fake runs: containers that follow steps on a clock, with real loopback listeners.

One that is frozen takes no step, accepts no connection and reads nothing; what falls due meanwhile follows when it is
thawed, as with a process that was stopped.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from moorings.clock import Clock, TimerHandle
from moorings.runtimes.base import Address, Exit, ExitReason, LogLine, Running, StartSpec, Stream
from moorings.runtimes.fake_exec import Changes, FakeProgram

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

TERMINATING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2})


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


# --- containers -------------------------------------------------------------------------------------------------------


class Machine(Protocol):
    """Where a container runs, as it sees it."""

    clock: Clock
    aborted: set[asyncio.Task[None]]

    def emit_output(self, token: str, stream: Stream, line: str) -> None: ...

    def emit_exit(self, token: str, exit: Exit) -> None: ...


class FakeContainer:
    """One incarnation on the machine."""

    def __init__(self, machine: Machine, spec: StartSpec, script: Script, pid: int) -> None:
        self.spec = spec
        self.script = script
        self.exit: Exit | None = None
        self.lines: deque[LogLine] = deque(maxlen=1000)
        self.printed = 0
        """How many lines it has printed so far."""
        self.changes = Changes()
        """When it prints, and when it ends."""
        self.guests: set[FakeProgram] = set()
        self.is_listening: set[int] = set()
        self.is_frozen = False
        self._held: list[Callable[[], None]] = []  # what it would have done, had it not been frozen
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

    def freeze(self) -> None:
        """Do nothing, until ``thaw``."""
        self.is_frozen = True
        self.running = replace(self.running, paused=True)
        for server in self._servers.values():
            server.freeze()

    def thaw(self) -> None:
        """Go on, with what was held back first."""
        self.is_frozen = False
        self.running = replace(self.running, paused=False)
        for server in self._servers.values():
            server.thaw()
        held, self._held = self._held, []
        for action in held:
            action()

    def when_thawed(self, action: Callable[[], None]) -> None:
        """Do something now, or when it is thawed."""
        if self.is_frozen:
            self._held.append(action)
        else:
            action()

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
        if self.is_frozen:
            self._held.append(self._step)
            return
        while self._steps and self.exit is None:
            step = self._steps.popleft()
            match step:
                case Prints(line, stream):
                    self.lines.append(LogLine(self._machine.clock.time(), stream, line))
                    self.printed += 1
                    self.changes.tell()
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

    def kill(self, reason: ExitReason) -> None:
        """SIGKILL, which reaches it frozen or not."""
        self.is_frozen = False
        self.interrupt([Exits(137, reason)])

    def end(self, code: int, reason: ExitReason) -> None:
        """It is over: the ports refuse, the exit is told."""
        if self.exit is not None:
            return
        self._cancel()
        self.exit = Exit(code, reason, self._machine.clock.time())
        self.is_listening.clear()
        self.changes.tell()
        for guest in list(self.guests):
            guest.end(137)
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
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.get_running_loop()
        listening.setblocking(False)
        self.thaw()

    def freeze(self) -> None:
        """Accept and read nothing."""
        self._loop.remove_reader(self._listening.fileno())
        for writer in self._writers:
            _transport(writer).pause_reading()

    def thaw(self) -> None:
        """Accept and read."""
        self._loop.add_reader(self._listening.fileno(), self._accept)
        for writer in self._writers:
            _transport(writer).resume_reading()

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
        self._writers.add(writer)
        try:
            with suppress(ConnectionError):
                await self._serve(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def close(self) -> set[asyncio.Task[None]]:
        """Accept no more, and abort what there is. Returns the handlers that are still ending."""
        self._loop.remove_reader(self._listening.fileno())
        for handler in self._handlers:
            handler.cancel()
        return set(self._handlers)


def _transport(writer: asyncio.StreamWriter) -> asyncio.Transport:
    return cast(asyncio.Transport, writer.transport)


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
