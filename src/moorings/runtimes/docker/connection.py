"""The connection of a Docker runtime to its Engine: what is there, what ends, and the way back after an absence.

Invariants: the exit of an incarnation is reported once, after its output and after ``start`` returned it. What becomes
of a start whose caller went away is nothing, and so is what the Engine still makes for a platform that has died. While
the Engine is away containers that it keeps go on running; what was asked for meanwhile (signals, kills) is done when it
is back, and so are the ends that nobody saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorings.clock import Clock, SystemClock
from moorings.errors import RuntimeUnavailable
from moorings.http.owned_tasks import OwnedTasks
from moorings.runtimes.base import (
    Exit,
    Found,
    OnClose,
    Running,
    RuntimeEvents,
    Stream,
)
from moorings.runtimes.docker import identity, locating, pulse, watching
from moorings.runtimes.docker.ends import LOST, Cause, exit_of, reason_of
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.incarnation import Incarnation, belongs
from moorings.runtimes.docker.logs import KeptLogs
from moorings.runtimes.docker.networks import Networks
from moorings.runtimes.docker.output import Follower
from moorings.runtimes.docker.starting import Starter, running_of
from moorings.runtimes.docker.watching import Event, cancelled

STUCK = 5.0  # seconds that a cancelled start, and the output of an end, are waited for
STARTS = 8
"""How many starts the Engine is asked for at a time: with more, each takes longer and all together no less."""
FIRST_ANSWER = 20.0
"""Seconds that the Engine may take for its first answer to a platform that begins, which adopts then or never."""
_ANSWER = 3.0  # seconds that one may take that had gone away: whoever waits for a start is told within its 8 s
_NO_END = {signal.SIGKILL, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
"""Signals with which the Engine stops no container: SIGKILL tells itself by the code, others ask for something else."""
AT_ONCE = 32  # requests to the Engine at a time, where there is one for each container


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """``host`` is the Engine's address as DOCKER_HOST has it; found as the docker command does where None."""

    host: str | None = None


class Connection:
    """What a runtime knows of its containers, kept true by the Engine's events."""

    def __init__(self, data: Path, *, clock: Clock | None = None, settings: DockerSettings | None = None) -> None:
        self._clock = clock or SystemClock()
        self._settings = settings or DockerSettings()
        self._installation = identity.Installation(data)
        self._events: RuntimeEvents | None = None
        self._engine: Engine | None = None
        self._networks: Networks | None = None
        self._starter: Starter | None = None
        self._live: dict[str, Incarnation] = {}
        self._ended: dict[str, Incarnation] = {}
        self._launching: set[str] = set()
        """Tokens that the Engine has been asked to make a container for, and has not answered."""
        self._early: list[Event] = []
        """What was made before it was known what there is."""
        self._stream = AsyncExitStack()
        self._kept = KeptLogs(data / "logs")
        self._reaching = asyncio.Lock()
        self._turns = asyncio.Semaphore(STARTS)
        self._tasks = OwnedTasks()
        self._watcher: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._is_open = False

    @property
    def host(self) -> str:
        """Where the Engine is, or is looked for."""
        return self._settings.host or locating.locate(os.environ)

    # --- the connection -----------------------------------------------------------------------------------------------

    async def open(self, events: RuntimeEvents) -> Found:
        await asyncio.to_thread(self._installation.open)
        self._events = events
        try:
            async with self._reaching:
                listing = await self._attempt(FIRST_ANSWER)
            found = await self._found(listing)
        except Unreachable as error:
            await self._disconnect()
            self._installation.close()
            raise RuntimeUnavailable(str(error)) from None
        except BaseException:
            await self._disconnect()
            self._installation.close()
            raise
        self._is_open = True
        for incarnation in self._live.values():
            asyncio.get_running_loop().call_soon(self._release, incarnation)
        for event in self._early:
            self._made(event)
        self._early.clear()
        return found

    async def close(self, containers: OnClose) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await cancelled(self._returning)
        if containers is OnClose.KILL:
            try:
                await self._kill_all()
            except (Unreachable, Refused) as error:
                if self._events is not None:
                    self._events.unavailable(f"containers are left on the Engine: {error}")
        self._events = None
        self._tasks.cancel()
        await self._tasks.settle()
        await self._disconnect()
        self._live.clear()
        self._ended.clear()
        self._installation.close()

    async def _disconnect(self) -> None:
        engine, self._engine = self._engine, None
        await cancelled(self._watcher, *(each.following for each in self._live.values()))
        await self._stream.aclose()  # a watcher that was cancelled before it began has not closed it
        if engine is not None:
            await engine.close()

    async def _attempt(self, within: float = _ANSWER) -> list[dict[str, Any]]:
        """Connect, follow the events, and list the installation's containers. Raises Unreachable."""
        engine = await Engine.connect(self.host, within=within)
        stack = AsyncExitStack()
        beat = self._tasks.spawn(self._feel(engine), name="moorings-docker-pulse")
        stack.push_async_callback(cancelled, beat)
        try:
            stream = await stack.enter_async_context(watching.events(engine, self._installation.label, self._clock))
            listing = await engine.list_containers(self._installation.label)
        except BaseException as error:
            await stack.aclose()
            await engine.close()
            if isinstance(error, Refused):
                raise Unreachable(f"the Engine at {self.host} refused: {error.message}") from None
            raise
        self._engine = engine
        self._stream = stack
        self._networks = Networks(engine, self._installation.id)
        self._starter = Starter(engine, self._networks, self._installation.id)
        self._watcher = self._tasks.spawn(self._watch(engine, stack, stream), name="moorings-docker-events")
        return listing

    async def _feel(self, engine: Engine) -> None:
        await pulse.stopped(engine, self._clock)
        await engine.give_up()

    async def _watch(self, engine: Engine, stack: AsyncExitStack, stream: AsyncIterator[list[Event]]) -> None:
        with contextlib.suppress(Unreachable, Refused):
            async with stack:
                async for batch in stream:
                    for event in batch:
                        self._happened(event)
        if self._engine is engine and self._is_open:
            self._engine = None
            self._tasks.spawn(engine.close(), name="moorings-docker-close")
            if self._events is not None:
                gone = "answers no more" if engine.is_stuck else "went away"
                kept = "go on running" if engine.is_stuck or engine.keeps_containers else "end with it"
                self._events.unavailable(
                    f"the Docker Engine at {self.host} {gone}; its containers {kept}. What it is needed for works "
                    "again as soon as it is back; moorings doctor says what is wrong"
                )
            self._returning = self._tasks.spawn(self._return(engine), name="moorings-docker-return")

    async def _return(self, last: Engine) -> None:
        """Come back to the Engine as soon as it answers."""

        async def attempt() -> None:
            async with self._reaching:
                if self._engine is None:
                    await self._resume(last)

        def between() -> None:
            if not last.keeps_containers:
                for incarnation in [each for each in self._live.values() if each.process_is_gone]:
                    self._gone(incarnation)

        between()
        await watching.reconnect(attempt, between, self._clock)

    async def _connected(self) -> Engine:
        """The Engine; reached anew where it had gone away. Raises RuntimeUnavailable."""
        if not self._is_open:
            raise RuntimeUnavailable("the Docker runtime is not open")
        if self._engine is not None:
            return self._engine
        async with self._reaching:
            try:
                return self._reached() or await self._resume(None)
            except (Unreachable, Refused) as error:
                raise RuntimeUnavailable(str(error)) from None

    def _reached(self) -> Engine | None:
        return self._engine

    # --- what is there ------------------------------------------------------------------------------------------------

    async def _found(self, listing: list[dict[str, Any]]) -> Found:
        """Take over what an earlier platform has left. Raises Unreachable."""
        running: list[Running] = []
        ended: list[tuple[Running, Exit]] = []
        for shown in await self._shown(listing):
            incarnation = self._known(shown)
            state = shown["State"]
            assert incarnation.running is not None
            if state.get("Running") or state.get("Paused"):
                self._live[incarnation.token] = incarnation
                running.append(incarnation.running)
            elif str(state.get("StartedAt", "")).startswith("0001-"):
                await self._remove(incarnation.container)  # a start that a platform did not live to see
            else:
                self._ended[incarnation.token] = incarnation
                ended.append((incarnation.running, exit_of(state, Cause.UNKNOWN, self._clock.time())))
        return Found(sorted(running, key=_by_start), sorted(ended, key=lambda each: _by_start(each[0])))

    async def _shown(self, listing: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the Engine knows of each container that is still there. Raises Unreachable."""
        engine, limit = self._engine, asyncio.Semaphore(AT_ONCE)
        assert engine is not None

        async def show(id: str) -> dict[str, Any] | None:
            async with limit:
                try:
                    return await engine.inspect(id)
                except Refused:
                    return None

        shown = await asyncio.gather(*(show(each["Id"]) for each in listing))
        return [each for each in shown if each is not None]

    def _known(self, shown: Mapping[str, Any]) -> Incarnation:
        found = running_of(shown)
        incarnation = Incarnation(found.token, found.class_name, found.object_id, shown["Id"], found)
        incarnation.paused = found.paused
        incarnation.is_local = found.pid is not None and belongs(found.pid, shown["Id"])
        self._follow(incarnation, from_now=True)
        return incarnation

    async def _resume(self, last: Engine | None) -> Engine:
        """Connect again and learn what has happened meanwhile. Raises Unreachable, Refused."""
        listing = await self._attempt()
        engine = self._engine
        assert engine is not None
        found = {each["Labels"].get(identity.TOKEN): each for each in listing}
        for incarnation in list(self._live.values()):
            there = found.get(incarnation.token)
            if incarnation.running is None:
                continue  # its start fails or succeeds by itself
            if there is None:
                self._gone(incarnation)
            elif there["State"] in ("running", "paused"):
                if incarnation.released.is_set() and incarnation.follower is not None:
                    await cancelled(incarnation.following)
                    run = incarnation.follower.run(engine)
                    incarnation.following = self._tasks.spawn(run, name="moorings-docker-output")
                await self._make_up(engine, incarnation)
            else:
                if incarnation.cause is Cause.UNKNOWN and not (last or engine).keeps_containers:
                    incarnation.cause = Cause.ENGINE
                self._end(incarnation, LOST)
        for token, each in found.items():
            if token not in self._live and token not in self._ended:
                await engine.remove(each["Id"])
        return engine

    async def _make_up(self, engine: Engine, incarnation: Incarnation) -> None:
        """Do what was asked for while the Engine was away."""
        if incarnation.cause is Cause.KILLED:
            await engine.kill(incarnation.container, 9)
        elif not incarnation.paused:
            held, incarnation.held_signals = incarnation.held_signals, []
            for signum in held:
                await engine.kill(incarnation.container, signum)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if event.action in ("create", "start"):
            if self._is_open:
                self._made(event)
            else:
                self._early.append(event)
            return
        incarnation = self._live.get(event.token)
        if incarnation is None or incarnation.container != event.container:
            return  # labels are inherited: it may be one that somebody runs from a committed container
        if event.action == "oom":
            incarnation.was_oom = True
        elif event.action == "kill":
            asks_to_end = event.signum not in _NO_END and not incarnation.was_signalled
            if asks_to_end and incarnation.cause is Cause.UNKNOWN:
                incarnation.cause = Cause.ENGINE  # the Engine stops it: it is ending itself, or somebody told it to
        elif event.action == "die":
            self._end(incarnation, event.exit_code)

    def _made(self, event: Event) -> None:
        """A container was made or started: nobody's where it is no start of this platform."""
        token = event.token
        if not (token in self._live or token in self._ended or token in self._launching):
            self._tasks.spawn(self._remove(event.container), name="moorings-docker-stranger")

    def _end(self, incarnation: Incarnation, code: int) -> None:
        if incarnation.ending is None:
            incarnation.ending = self._tasks.spawn(self._report_end(incarnation, code), name="moorings-docker-end")

    async def _report_end(self, incarnation: Incarnation, code: int) -> None:
        """Tell an end once all output has been told. Where the Engine goes away meanwhile, its return tells it."""
        await incarnation.released.wait()
        engine = self._engine
        now = self._clock.time()
        exit = Exit(code, reason_of(code, incarnation.cause, oom=incarnation.was_oom), now)
        try:
            if engine is not None:
                with engine.ignored(404):  # somebody has removed it
                    state = dict((await engine.inspect(incarnation.container))["State"])
                    state["OOMKilled"] = state.get("OOMKilled") or incarnation.was_oom
                    exit = exit_of(state, incarnation.cause, now)
        except (Unreachable, Refused):
            incarnation.ending = None
            return
        await cancelled(incarnation.following)
        if engine is not None and incarnation.follower is not None:
            await incarnation.follower.finish(engine)
        self._told(incarnation, exit)

    def _gone(self, incarnation: Incarnation) -> None:
        """A container isn't there any more, and nobody can tell how it ended."""
        if incarnation.released.is_set() and incarnation.ending is None:
            cause = Cause.KILLED if incarnation.cause is Cause.KILLED else Cause.ENGINE
            self._told(incarnation, Exit(LOST, reason_of(LOST, cause, oom=False), self._clock.time()))

    def _told(self, incarnation: Incarnation, exit: Exit) -> None:
        if self._live.get(incarnation.token) is incarnation and self._events is not None:
            del self._live[incarnation.token]
            self._ended[incarnation.token] = incarnation
            self._events.exited(incarnation.token, exit)
            incarnation.told.set()

    async def kill(self, token: str) -> None:
        incarnation = self._live.get(token)
        if incarnation is None:
            return
        incarnation.cause = Cause.KILLED
        if self._engine is not None:
            with contextlib.suppress(Unreachable, Refused):  # it is killed when the Engine is back
                await self._engine.kill(incarnation.container, 9)

    async def _kill_all(self) -> None:
        """Kill everything of the installation, tell the exits, and remove what is left. Raises Unreachable, Refused."""
        engine = self._engine
        if engine is None:
            raise Unreachable(f"the Docker Engine at {self.host} is away")
        limit = asyncio.Semaphore(AT_ONCE)

        async def end(id: str, how: Any) -> None:
            async with limit:
                await how(id)

        await asyncio.gather(*(end(token, self.kill) for token in list(self._live)))
        endings = [each.ending for each in self._live.values() if each.ending is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * STUCK):
                while self._live:
                    endings = [each.ending for each in self._live.values() if each.ending is not None]
                    if endings:
                        await asyncio.wait(endings)
                    else:
                        await self._clock.sleep(0.005)
        listing = await engine.list_containers(self._installation.label)
        await asyncio.gather(*(end(each["Id"], engine.remove) for each in listing))
        if self._networks is not None:
            await self._networks.remove()

    # --- output -------------------------------------------------------------------------------------------------------

    def _follow(self, incarnation: Incarnation, *, from_now: bool) -> None:
        def show(stream: Stream, line: str) -> None:
            if self._events is not None and incarnation.token in self._live:
                self._events.output(incarnation.token, stream, line)

        incarnation.follower = Follower(incarnation.container, show, self._clock, from_now=from_now)

    def _release(self, incarnation: Incarnation) -> None:
        """From now on everything of an incarnation is reported."""
        if self._is_open and self._engine is not None and incarnation.follower is not None:
            run = incarnation.follower.run(self._engine)
            incarnation.following = self._tasks.spawn(run, name="moorings-docker-output")
        incarnation.released.set()

    async def _remove(self, container: str) -> None:
        """Remove a container; where the Engine is away, its return does."""
        if self._engine is not None:
            with contextlib.suppress(Unreachable, Refused):
                await self._engine.remove(container)


def _by_start(running: Running) -> float:
    return running.started_at
