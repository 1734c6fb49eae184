"""The process runtime as the platform sees it: the ``ContainerRuntime`` seam, spoken to a supervisor.

Invariants: the exit of an incarnation is reported once, after its output and after ``start`` returned it. What
becomes of a start whose caller went away is nothing. When the supervisor dies, whatever it parented is killed here,
its exits are reported with reason PLATFORM, and the next ``start`` begins with a fresh supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

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
from moorings.runtimes.process import proc, wire
from moorings.runtimes.process.client import Client
from moorings.runtimes.process.executing import execute
from moorings.runtimes.process.launch import reach
from moorings.runtimes.process.leftovers import kill_leftovers
from moorings.runtimes.process.log_files import Wanted
from moorings.runtimes.process.paths import Layout
from moorings.runtimes.process.reading import Followers, read_logs

_HOST = "127.0.0.1"
_STUCK = 5.0  # seconds that a cancelled start waits for its end


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """``log_bytes`` is the size of one log file, ``log_files`` how many are kept per object; ``linger`` the seconds
    that a supervisor with nothing to hold waits for a platform. ``path`` and ``lang`` are PATH and LANG of the
    containers.
    """

    log_bytes: int = 10 * 1024 * 1024
    log_files: int = 3
    linger: float = 3.0
    path: str | None = None
    lang: str | None = None

    def container_path(self) -> str:
        """PATH: the folder of the platform's own interpreter comes first, so that ``python`` is the same as outside."""
        base = self.path if self.path is not None else os.environ.get("PATH", os.defpath)
        return os.pathsep.join([str(Path(sys.executable).parent), base]) if sys.executable else base

    def container_lang(self) -> str:
        return self.lang if self.lang is not None else os.environ.get("LANG", "C.UTF-8")


class ProcessRuntime:
    """Containers as processes of this machine. It isolates nothing."""

    def __init__(self, data: Path, *, clock: Clock | None = None, settings: ProcessSettings | None = None) -> None:
        self._layout = Layout(os.path.abspath(data))
        self._clock = clock or SystemClock()
        self._settings = settings or ProcessSettings()
        self._cwd = os.getcwdb()
        self._path = os.fsencode(self._settings.container_path())
        self._lang = os.fsencode(self._settings.container_lang())
        self._events: RuntimeEvents | None = None
        self._client: Client | None = None
        self._supervisor = (0, 0)  # pid and start ticks
        self._running: dict[str, wire.Incarnation] = {}
        self._starting: dict[str, list[wire.Answer]] = {}  # events that came before their start returned
        self._opening: list[wire.Answer] | None = None  # events that came before open returned
        self._followers = Followers()
        self._reaching = asyncio.Lock()
        self._cleaning: asyncio.Task[None] | None = None
        self._is_closed = False

    def name_of(self, token: str) -> str:
        return "process"

    # --- the connection -----------------------------------------------------------------------------------------------

    async def open(self, events: RuntimeEvents) -> Found:
        self._events = events
        self._is_closed = False
        self._opening = []
        async with self._reaching:
            welcome = await self._reach()
        for incarnation in welcome.running:
            self._running[incarnation.token] = incarnation
        asyncio.get_running_loop().call_soon(self._opened)
        return Found(
            running=[_running(incarnation) for incarnation in welcome.running],
            ended=[(_running(ended.incarnation), _exit(ended.ending)) for ended in welcome.ended],
        )

    async def close(self, containers: OnClose) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._cleaning is not None:
            await self._cleaning
        client = self._client
        if client is not None and client.is_open:
            if containers is OnClose.KILL:
                try:
                    await client.ask(wire.Shutdown(), wire.Done)
                except RuntimeUnavailable:
                    await self._clean_up(*self._take_lost())
                else:
                    await client.ended
                    await self._supervisor_ended()
            client.close()
            await client.ended
        self._client = None
        self._running.clear()

    async def _supervisor_ended(self) -> None:
        pid, ticks = self._supervisor
        pause = 0.001
        while proc.is_alive(pid, ticks):
            await self._clock.sleep(pause)
            pause = min(pause * 2, 0.05)

    async def _reach(self) -> wire.Welcome:
        hello = wire.Hello(wire.VERSION, os.getpid(), self._settings.log_bytes, self._settings.log_files)
        client, welcome = await reach(
            self._layout,
            hello,
            self._clock,
            linger=self._settings.linger,
            make_client=lambda: Client(on_event=self._received, on_lost=self._lost),
        )
        self._client = client
        self._supervisor = (welcome.pid, welcome.ticks)
        return welcome

    async def _connected(self) -> Client:
        """The client; a new one, of a new supervisor, where the last one was lost. Raises RuntimeUnavailable."""
        if self._client is not None and self._client.is_open:
            return self._client
        if self._is_closed or self._events is None:
            raise RuntimeUnavailable("the process runtime is not open")
        async with self._reaching:
            if self._cleaning is not None:
                await asyncio.shield(self._cleaning)
            if self._client is not None and self._client.is_open:
                return self._client
            welcome = await self._reach()
            assert self._client is not None
            for ended in welcome.ended:  # all of them were reported when the last supervisor was lost
                await self._client.ask(wire.Forget(ended.incarnation.token), wire.Done)
            return self._client

    def _lost(self) -> None:
        if not self._is_closed and self._cleaning is None and self._client is not None:
            self._client = None
            cleaning = self._clean_up(*self._take_lost())
            self._cleaning = asyncio.get_running_loop().create_task(cleaning, name="moorings-supervisor-lost")

    def _take_lost(self) -> tuple[dict[str, wire.Incarnation], set[str]]:
        """What goes down with the supervisor: what it ran, and the tokens of what it was about to start."""
        lost, self._running = self._running, {}
        return lost, set(self._starting)

    async def _clean_up(self, lost: dict[str, wire.Incarnation], starting: set[str]) -> None:
        """The supervisor has gone. Owned by ``_cleaning``, which ``close`` and starts await."""
        pid, ticks = self._supervisor
        await asyncio.to_thread(_kill_remains, pid, ticks, list(lost.values()), starting)
        self._cleaning = None
        if self._events is None:
            return
        self._events.unavailable(
            f"the supervisor (process {pid}) of {self._layout.data} went away; its {len(lost)} containers were killed. "
            f"The next start begins with a new one; {self._layout.log} may say why"
        )
        exit = Exit(137, ExitReason.PLATFORM, self._clock.time())
        for token in lost:
            self._followers.wake(token)
            self._events.exited(token, exit)

    # --- events -------------------------------------------------------------------------------------------------------

    def _received(self, event: wire.Answer) -> None:
        if not isinstance(event, wire.Exited | wire.Output):
            return
        held = self._starting.get(event.token) if self._opening is None else self._opening
        if held is not None:
            held.append(event)
        else:
            self._deliver(event)

    def _deliver(self, event: wire.Answer) -> None:
        if self._events is None:
            return
        if isinstance(event, wire.Output):
            if event.token not in self._running:
                return
            stream = cast(Stream, event.stream)
            if event.skipped:
                self._events.output(
                    event.token, stream, f"[{event.skipped} lines came too fast to be shown; they are in the log]"
                )
            for line in event.lines:
                self._events.output(event.token, stream, line.decode("utf-8", "replace"))
            self._followers.wake(event.token)
        elif isinstance(event, wire.Exited) and self._running.pop(event.token, None) is not None:
            self._followers.wake(event.token)
            self._events.exited(event.token, _exit(event.ending))

    def _opened(self) -> None:
        held, self._opening = self._opening, None
        for event in held or ():
            self._received(event)

    def _release(self, token: str) -> None:
        for event in self._starting.pop(token, ()):
            self._deliver(event)

    # --- containers ---------------------------------------------------------------------------------------------------

    def turn(self, class_name: str) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()  # the supervisor takes starts as they come

    async def start(self, spec: StartSpec) -> Running:
        if spec.token in self._running or spec.token in self._starting:
            raise ContainerFailedToStart(f"{_label(spec)} could not be started: the token {spec.token} was used before")
        client = await self._connected()
        request = wire.Start(
            token=spec.token,
            app=spec.app,
            class_name=spec.class_name,
            object_id=spec.object_id,
            name=spec.name,
            entrypoint=[os.fsencode(argument) for argument in spec.entrypoint],
            directory=os.path.join(self._cwd, os.fsencode(spec.directory)),
            ports=list(dict.fromkeys(spec.ports)),
            env={os.fsencode(key): os.fsencode(value) for key, value in spec.env.items()},
            path=self._path,
            lang=self._lang,
        )
        self._starting[spec.token] = []
        answered = client.send(request)
        try:
            answer = await answered
        except BaseException:
            self._starting.pop(spec.token, None)
            if client.is_open:
                await _finish(client.send(wire.Discard(spec.token)))
            elif self._cleaning is not None:
                await asyncio.shield(self._cleaning)
            raise
        if not isinstance(answer, wire.Started):
            self._starting.pop(spec.token, None)
            message = answer.message if isinstance(answer, wire.Refused) else f"the supervisor answered {answer!r}"
            raise ContainerFailedToStart(f"{_label(spec)} could not be started: {message}")
        self._running[spec.token] = answer.incarnation
        asyncio.get_running_loop().call_soon(self._release, spec.token)
        return _running(answer.incarnation)

    async def signal(self, token: str, signum: int) -> None:
        if token in self._running:
            await self._ask(wire.Signal(token, int(signum)))

    async def kill(self, token: str) -> None:
        if token in self._running:
            await self._ask(wire.Kill(token))

    async def assign(self, token: str, object_id: str, name: str | None) -> None:
        if token in self._running:
            await self._ask(wire.Assign(token, object_id, name))

    async def pause(self, token: str) -> None:
        if token in self._running:
            await self._ask(wire.Pause(token))

    async def unpause(self, token: str) -> None:
        if token in self._running:
            await self._ask(wire.Unpause(token))

    async def owns_listener(self, token: str, port: int) -> bool:
        answer = await self._ask(wire.Owns(token, port))
        return isinstance(answer, wire.Truth) and answer.value

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        answer = await self._ask(wire.Tail(token, lines))
        kept = answer.lines if isinstance(answer, wire.Lines) else ()
        return tuple(line.decode("utf-8", "replace") for line in kept)

    async def forget(self, token: str) -> None:
        await self._ask(wire.Forget(token))

    def logs(
        self, source: LogSource, *, follow: Follow = Follow.NO, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        token = source.token or self._token_of(source)
        return read_logs(
            self._layout.object_logs(source.class_name, source.object_id, source.name),
            Wanted(None if token in self._running else source.token, tail, since),
            follow,
            token=token,
            runs=lambda: token in self._running,
            followers=self._followers,
            clock=self._clock,
        )

    def _token_of(self, source: LogSource) -> str:
        """The incarnation of an object that runs; empty where none does."""
        for token, incarnation in self._running.items():
            if (incarnation.class_name, incarnation.object_id) == (source.class_name, source.object_id):
                return token
        return ""

    async def exec(self, token: str, spec: ExecSpec) -> ExecProcess:
        self._check_running(token)
        return await execute(self._layout, token, spec)

    async def stats(self, token: str) -> Stats:
        self._check_running(token)
        answer = await self._ask(wire.Usage(token))
        if answer is None:
            raise RuntimeUnavailable("the supervisor went away")
        if not isinstance(answer, wire.Used):
            raise ContainerNotRunning("the container has ended")
        return Stats(answer.cpu, answer.memory, None, None, None, answer.processes)

    def _check_running(self, token: str) -> None:
        if token not in self._running:
            raise ContainerNotRunning("the container isn't running")

    async def _ask(self, request: wire.Request) -> wire.Answer | None:
        """The answer; None where the supervisor is gone, as every container is then."""
        if self._client is None or not self._client.is_open:
            return None
        try:
            return await self._client.send(request)
        except RuntimeUnavailable:
            return None


def _kill_remains(pid: int, ticks: int, lost: list[wire.Incarnation], starting: set[str]) -> None:
    """Kill a supervisor that does not talk to us any more, and what it parented. Blocks."""
    if proc.is_alive(pid, ticks):
        proc.kill(pid, ticks)
    tokens = starting | {incarnation.token for incarnation in lost}
    if tokens:
        kill_leftovers({each.pid: each.ticks for each in lost}, is_ours=tokens.__contains__)


async def _finish(answered: asyncio.Future[wire.Answer]) -> None:
    """Wait for an answer although the task is being cancelled, and again; but not for a supervisor that is stuck.

    That will carry the request out when it goes on.
    """
    deadline = asyncio.get_running_loop().time() + _STUCK
    while not answered.done() and (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.wait([answered], timeout=left)
        except asyncio.CancelledError:
            continue


def _label(spec: StartSpec) -> str:
    return f"{spec.class_name}/{spec.name if spec.name is not None else spec.object_id[:12]}"


def _running(incarnation: wire.Incarnation) -> Running:
    return Running(
        token=incarnation.token,
        class_name=incarnation.class_name,
        object_id=incarnation.object_id,
        name=incarnation.name,
        addresses={declared: Address(_HOST, host) for declared, host in incarnation.ports.items()},
        started_at=incarnation.started_at,
        pid=incarnation.pid,
        paused=incarnation.paused,
    )


def _exit(ending: wire.Ending) -> Exit:
    return Exit(ending.code, ExitReason(ending.reason), ending.at)
