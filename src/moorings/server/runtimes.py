"""The runtimes of one platform behind one seam: each class's containers go to the runtime that was chosen for it.

A token belongs to the runtime that started or found it. The Docker runtime is opened where a class runs on it or did
so before; where its Engine is away then, it is opened by the first start, and what it finds then is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from moorings.clock import Clock
from moorings.errors import ContainerNotRunning, RuntimeUnavailable
from moorings.runtimes.base import (
    ContainerRuntime,
    ExecProcess,
    ExecSpec,
    Exit,
    Follow,
    Found,
    ImageSpec,
    LogLine,
    LogSource,
    OnClose,
    Running,
    RuntimeEvents,
    StartSpec,
    Stats,
)
from moorings.runtimes.process import ProcessRuntime
from moorings.server.choosing import Choice, Place

if TYPE_CHECKING:
    from moorings.runtimes.docker.runtime import DockerRuntime


class Runtimes:
    """A ContainerRuntime that hands each container to the runtime of its class.

    ``choices`` may be replaced while it is open: what runs stays where it is.
    """

    def __init__(self, data: Path, choices: Mapping[str, Choice], *, clock: Clock) -> None:
        self.choices = choices
        self._data = data
        self._clock = clock
        self._events: RuntimeEvents | None = None
        self._open: dict[Place, ContainerRuntime] = {}
        self._docker: DockerRuntime | None = None
        self._owners: dict[str, ContainerRuntime] = {}
        self._opening = asyncio.Lock()

    def name_of(self, token: str) -> str:
        return self._owners[token].name_of(token) if token in self._owners else ""

    # --- which one ----------------------------------------------------------------------------------------------------

    def _place(self, class_name: str) -> Place:
        choice = self.choices.get(class_name)
        return Place.PROCESS if choice is None else choice.place

    def _make(self, place: Place) -> ContainerRuntime:
        if place is Place.PROCESS:
            return ProcessRuntime(self._data / "process", clock=self._clock)
        from moorings.runtimes.docker.runtime import DockerRuntime

        self._docker = DockerRuntime(self._data / "docker", clock=self._clock)
        return self._docker

    async def _opened(self, place: Place) -> ContainerRuntime:
        """The runtime of a place; opened where it isn't yet. Raises RuntimeUnavailable."""
        if place in self._open:
            return self._open[place]
        events = self._events
        if events is None:
            raise RuntimeUnavailable("the runtime is not open")
        async with self._opening:
            if place not in self._open:
                runtime = self._make(place)
                found = await runtime.open(events)
                self._open[place] = runtime
                if self._docker is not None and runtime is self._docker:
                    left = [*found.running, *(ended for ended, _ in found.ended)]
                    await self._docker.discard([each.token for each in left])
            return self._open[place]

    # --- ContainerRuntime ---------------------------------------------------------------------------------------------

    async def open(self, events: RuntimeEvents) -> Found:
        self._events = events
        wanted = {self._place(name) for name in self.choices} or {Place.PROCESS}
        wanted |= {place for place in Place if (self._data / place).exists()}
        running: list[Running] = []
        ended: list[tuple[Running, Exit]] = []
        for place in sorted(wanted, reverse=True):
            runtime = self._make(place)
            try:
                found = await runtime.open(events)
            except RuntimeUnavailable as error:
                if place is Place.PROCESS or "another" in str(error):
                    await self.close(OnClose.KEEP)
                    raise
                if any(self._place(name) is place for name in self.choices):
                    events.unavailable(str(error))
                continue
            self._open[place] = runtime
            self._owners |= {each.token: runtime for each in found.running}
            self._owners |= {each.token: runtime for each, _ in found.ended}
            running += found.running
            ended += found.ended
        return Found(running, ended)

    async def close(self, containers: OnClose) -> None:
        self._events = None
        await asyncio.gather(*(runtime.close(containers) for runtime in self._open.values()))
        self._open.clear()
        self._owners.clear()

    async def prepare(self, image: ImageSpec, progress: Callable[[str], None]) -> str:
        """Build or pull an image. Raises ContainerFailedToStart, RuntimeUnavailable."""
        await self._opened(Place.DOCKER)
        assert self._docker is not None
        return await self._docker.prepare(image, progress)

    @contextlib.asynccontextmanager
    async def turn(self, class_name: str) -> AsyncIterator[None]:
        runtime = await self._opened(self._place(class_name))
        async with runtime.turn(class_name):
            yield

    async def start(self, spec: StartSpec) -> Running:
        runtime = await self._opened(self._place(spec.class_name))
        self._owners[spec.token] = runtime
        try:
            return await runtime.start(spec)
        except BaseException:
            self._owners.pop(spec.token, None)
            raise

    async def signal(self, token: str, signum: int) -> None:
        if token in self._owners:
            await self._owners[token].signal(token, signum)

    async def kill(self, token: str) -> None:
        if token in self._owners:
            await self._owners[token].kill(token)

    async def assign(self, token: str, object_id: str, name: str | None) -> None:
        if token in self._owners:
            await self._owners[token].assign(token, object_id, name)

    async def pause(self, token: str) -> None:
        if token in self._owners:
            await self._owners[token].pause(token)

    async def unpause(self, token: str) -> None:
        if token in self._owners:
            await self._owners[token].unpause(token)

    async def owns_listener(self, token: str, port: int) -> bool:
        return token in self._owners and await self._owners[token].owns_listener(token, port)

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        return await self._owners[token].tail(token, lines) if token in self._owners else ()

    async def forget(self, token: str) -> None:
        runtime = self._owners.pop(token, None)
        if runtime is not None:
            await runtime.forget(token)

    async def logs(
        self, source: LogSource, *, follow: Follow = Follow.NO, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        owner = None if source.token is None else self._owners.get(source.token)
        runtime = owner or await self._opened(self._place(source.class_name))
        lines = cast(AsyncGenerator[LogLine, None], runtime.logs(source, follow=follow, tail=tail, since=since))
        try:
            async for line in lines:
                yield line
        finally:
            await lines.aclose()

    async def exec(self, token: str, spec: ExecSpec) -> ExecProcess:
        return await self._of(token).exec(token, spec)

    async def stats(self, token: str) -> Stats:
        return await self._of(token).stats(token)

    def _of(self, token: str) -> ContainerRuntime:
        if token not in self._owners:
            raise ContainerNotRunning("the container isn't running")
        return self._owners[token]
