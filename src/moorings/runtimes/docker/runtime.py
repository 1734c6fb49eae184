"""The Docker runtime as the platform sees it: the ``ContainerRuntime`` seam, spoken to an Engine.

What becomes of a start whose caller went away is nothing. What is asked for while the Engine is away (signals, kills)
is done when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from moorings.errors import ContainerFailedToStart, ContainerNotRunning, RuntimeUnavailable
from moorings.runtimes.base import (
    ExecProcess,
    ExecSpec,
    Follow,
    ImageSpec,
    LogLine,
    LogSource,
    Running,
    StartSpec,
    Stats,
)
from moorings.runtimes.docker.connection import AT_ONCE, STUCK, Connection, DockerSettings
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.executing import execute
from moorings.runtimes.docker.images import prepare
from moorings.runtimes.docker.incarnation import Incarnation, belongs
from moorings.runtimes.docker.listening import listens
from moorings.runtimes.docker.logs import KEPT, last_lines, read_log
from moorings.runtimes.docker.measuring import stats_of
from moorings.runtimes.docker.starting import NetworkGone
from moorings.runtimes.docker.thawing import freezer_of
from moorings.runtimes.docker.watching import cancelled

__all__ = ["DockerRuntime", "DockerSettings"]


class DockerRuntime(Connection):
    """Containers of a Docker Engine."""

    def name_of(self, token: str) -> str:
        return "docker"

    def turn(self, class_name: str) -> asyncio.Semaphore:
        return self._turns

    async def start(self, spec: StartSpec) -> Running:
        if spec.token in self._live or spec.token in self._ended:
            raise ContainerFailedToStart(
                f"{spec.class_name} could not be started: the token {spec.token} was used before"
            )
        await self._connected()
        launch = self._tasks.spawn(self._launch(spec), name="moorings-docker-start")
        try:
            incarnation = await asyncio.shield(launch)
        except asyncio.CancelledError:
            undo = self._tasks.spawn(self._undo(launch), name="moorings-docker-undo")
            await _uninterrupted(undo)
            raise
        except Unreachable as error:
            raise RuntimeUnavailable(str(error)) from None
        asyncio.get_running_loop().call_soon(self._release, incarnation)
        assert incarnation.running is not None
        return incarnation.running

    async def _launch(self, spec: StartSpec) -> Incarnation:
        try:
            return await self._made_and_started(spec)
        except NetworkGone:
            try:
                return await self._made_and_started(spec)
            except NetworkGone as error:
                raise ContainerFailedToStart(str(error)) from None

    async def _made_and_started(self, spec: StartSpec) -> Incarnation:
        starter = self._starter
        assert starter is not None
        self._launching.add(spec.token)
        try:
            container = await starter.create(spec)
            incarnation = Incarnation(spec.token, spec.class_name, spec.object_id, container)
            self._live[spec.token] = incarnation
        finally:
            self._launching.discard(spec.token)
        self._follow(incarnation, from_now=False)
        try:
            found = incarnation.running = await starter.start(spec, container)
        except BaseException:
            self._live.pop(spec.token, None)
            await cancelled(incarnation.ending)
            await self._remove(container)
            raise
        incarnation.is_local = found.pid is not None and belongs(found.pid, container)
        return incarnation

    async def _undo(self, launch: asyncio.Task[Incarnation]) -> None:
        """Leave nothing of a start that nobody waits for any more."""
        await asyncio.wait([launch])
        if launch.cancelled() or launch.exception() is not None:
            return
        incarnation = launch.result()
        self._live.pop(incarnation.token, None)
        await cancelled(incarnation.ending)
        await self._remove(incarnation.container)

    async def prepare(self, image: ImageSpec, progress: Callable[[str], None]) -> str:
        """Build or pull an image where it isn't there; returns its name. ``progress`` is told a line at a time.

        Raises ContainerFailedToStart where that can't be done, RuntimeUnavailable.
        """
        return await prepare(await self._connected(), image, progress)

    async def signal(self, token: str, signum: int) -> None:
        incarnation = self._live.get(token)
        if incarnation is None:
            return
        incarnation.was_signalled = True
        engine = self._engine
        if engine is None or incarnation.paused:
            incarnation.held_signals.append(int(signum))
            return
        try:
            await engine.kill(incarnation.container, int(signum))
        except (Unreachable, Refused):
            incarnation.held_signals.append(int(signum))

    async def assign(self, token: str, object_id: str, name: str | None) -> None:
        incarnation = self._live.get(token) or self._ended.get(token)
        if incarnation is not None:
            incarnation.object_id = object_id  # labels can't be changed: it is told again after a restart

    async def pause(self, token: str) -> None:
        incarnation = self._live.get(token)
        if incarnation is not None and not incarnation.paused:
            if incarnation.thawing is not None:
                await asyncio.wait([incarnation.thawing])
            await self._freeze(incarnation, "pause")
            incarnation.paused = True

    async def unpause(self, token: str) -> None:
        incarnation = self._live.get(token)
        if incarnation is not None and incarnation.paused:
            thawing = self._tasks.spawn(self._freeze(incarnation, "unpause"), name="moorings-docker-thaw")
            incarnation.thawing = thawing
            await self._thawed(incarnation, thawing)
            incarnation.paused = False
            held, incarnation.held_signals = incarnation.held_signals, []
            for signum in held:
                await self.signal(token, signum)

    async def _thawed(self, incarnation: Incarnation, thawing: asyncio.Task[None]) -> None:
        """Return when a container runs again, which may be before the Engine has answered."""
        pid = incarnation.running.pid if incarnation.running is not None and incarnation.is_local else None
        freezer = None if pid is None else freezer_of(pid, incarnation.container)
        if freezer is not None and not incarnation.held_signals:
            looking = self._tasks.spawn(freezer.thawed(self._clock), name="moorings-docker-looking")
            try:
                await asyncio.wait([looking, thawing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                looking.cancel()
            if not thawing.done():
                return
        await asyncio.shield(thawing)

    async def _freeze(self, incarnation: Incarnation, how: str) -> None:
        engine = await self._connected()
        try:
            with engine.translated():
                await getattr(engine.container(incarnation.container), how)()
        except Refused as error:
            message = error.message
            is_so = f"already {how}" in message or "is not paused" in message or "not running" in message
            if not is_so and error.status != 404 and await self._runs(engine, incarnation):
                raise RuntimeUnavailable(f"the container can't be {how}d: {message}") from None
        except Unreachable as error:
            raise RuntimeUnavailable(str(error)) from None

    async def _runs(self, engine: Engine, incarnation: Incarnation) -> bool:
        """Whether a container that the Engine refused something for has not ended."""
        if incarnation.process_is_gone:
            return False
        try:
            return bool((await engine.inspect(incarnation.container))["State"]["Running"])
        except Refused:
            return False
        except Unreachable:
            return True

    async def owns_listener(self, token: str, port: int) -> bool:
        incarnation = self._live.get(token)
        if incarnation is None or incarnation.running is None or port not in incarnation.running.addresses:
            return False
        address = incarnation.running.addresses[port]
        return await listens(address, published=address.host.startswith("127."))

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        incarnation = self._live.get(token) or self._ended.get(token)
        if incarnation is None or self._engine is None:
            return ()
        try:
            kept = await last_lines(self._engine, incarnation.container, lines)
        except (Unreachable, Refused):
            return ()
        return tuple(each.line for each in kept)

    async def forget(self, token: str) -> None:
        incarnation = self._ended.get(token)
        if incarnation is None:
            return
        if self._engine is not None:
            with contextlib.suppress(Unreachable, Refused, OSError):
                lines = await last_lines(self._engine, incarnation.container, KEPT)
                await asyncio.to_thread(self._kept.write, incarnation.class_name, incarnation.object_id, token, lines)
        if self._ended.pop(token, None) is not None:
            await self._remove(incarnation.container)

    async def discard(self, tokens: Iterable[str]) -> None:
        """Remove containers that nobody wants any more, whatever they are doing. Nothing of them is reported."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def remove(incarnation: Incarnation) -> None:
            async with limit:
                await cancelled(incarnation.following, incarnation.ending)
                await self._remove(incarnation.container)

        found = [self._live.pop(token, None) or self._ended.pop(token, None) for token in tokens]
        await asyncio.gather(*(remove(each) for each in found if each is not None))

    # --- what is inside -----------------------------------------------------------------------------------------------

    async def logs(
        self, source: LogSource, *, follow: Follow = Follow.NO, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        known = [*self._live.values(), *self._ended.values()]
        if source.token is None:
            ours = [
                each for each in known if (each.class_name, each.object_id) == (source.class_name, source.object_id)
            ]
        else:
            ours = [each for each in known if each.token == source.token]
        if not ours:
            for line in await asyncio.to_thread(self._kept.read, source, tail=tail, since=since):
                yield line
            return
        engine = await self._connected()
        lines = read_log(engine, ours[0].container, follow=follow, tail=tail, since=since)
        try:
            async for line in lines:
                yield line
            if follow is Follow.FOLLOW and ours[0].token in self._live:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STUCK):
                        await ours[0].told.wait()
        except Refused:
            return  # it has just been removed
        except Unreachable as error:
            raise RuntimeUnavailable(str(error)) from None
        finally:
            await lines.aclose()

    async def exec(self, token: str, spec: ExecSpec) -> ExecProcess:
        incarnation = self._live.get(token)
        if incarnation is None:
            raise ContainerNotRunning("the container isn't running")
        engine = await self._connected()
        return await execute(engine, incarnation.container, spec, self._clock, is_local=incarnation.is_local)

    async def stats(self, token: str) -> Stats:
        incarnation = self._live.get(token)
        if incarnation is None:
            raise ContainerNotRunning("the container isn't running")
        engine = await self._connected()
        try:
            with engine.translated():
                url = f"containers/{incarnation.container}/stats"
                shown = await engine.docker._query_json(url, params={"stream": "0", "one-shot": "1"})
        except Refused as error:
            raise ContainerNotRunning(f"the container isn't running: {error.message}") from None
        except Unreachable as error:
            raise RuntimeUnavailable(str(error)) from None
        return stats_of(shown, int(engine.info.get("MemTotal") or 0))


async def _uninterrupted(task: asyncio.Task[None]) -> None:
    """Wait for a task although the waiting one is being cancelled, and again; but not for an Engine that is stuck."""
    deadline = asyncio.get_running_loop().time() + STUCK
    while not task.done() and (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError:
            continue
