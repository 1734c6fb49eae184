"""Operations on containers: which there are, what they print and use, and what can be done to one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

import msgspec

from moorings.clock import Clock
from moorings.containers.controller import Controller
from moorings.containers.lifecycle import DOWN
from moorings.containers.reading import read_logs
from moorings.containers.records import ContainerRecord
from moorings.containers.service import ContainerService
from moorings.containers.waiting import wait_for
from moorings.errors import BadRequest, MooringsError
from moorings.runtimes.base import Stats
from moorings.server.admin.executing import Executing, execute
from moorings.server.admin.finding import Finder
from moorings.server.admin.router import Operation, Route, Streaming
from moorings.server.objects import Objects

STATS_WITHIN = 2.0
"""Seconds that a runtime gets to say what a container uses, in a list; it is left out after that."""

_PAGE = 1000


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/containers/list``. ``all`` adds those that don't run."""

    all: bool = False


class Listed(msgspec.Struct, frozen=True):
    """A container as ``moorings ps`` shows it. Times are in Unix seconds; what can't be told is None."""

    class_name: str
    name: str | None
    object_id: str
    state: str
    last_change: float
    exit_code: int | None = None
    runtime: str | None = None
    pid: int | None = None
    started_at: float | None = None
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    requests: int = 0
    connections: int = 0


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which container, as users write it."""

    container: str


class Stopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/containers/stop``. ``wait`` says whether to answer when it has ended."""

    container: str
    signal: str | int = "SIGTERM"
    wait: bool = True


class Ended(msgspec.Struct, frozen=True):
    """What has become of a container; ``was_running`` is false where there was nothing to stop or destroy."""

    container: str
    state: str
    exit_code: int | None
    was_running: bool


class Logging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/containers/logs``. ``since`` is in Unix seconds."""

    container: str
    follow: bool = False
    tail: Annotated[int, msgspec.Meta(ge=0)] | None = None
    since: float | None = None


def routes(service: ContainerService, objects: Objects) -> list[Route]:
    """``/containers/...``."""
    operations = _Containers(service, objects)
    return [
        Streaming("/containers/list", Listing, operations.list),
        Operation("/containers/stop", Stopping, operations.stop),
        Operation("/containers/destroy", Named, operations.destroy),
        Operation("/containers/stats", Named, operations.stats),
        Streaming("/containers/logs", Logging, operations.logs),
        Streaming("/containers/exec", Executing, operations.exec),
    ]


class _Containers:
    """What can be asked of the containers of one platform."""

    def __init__(self, service: ContainerService, objects: Objects) -> None:
        self._service = service
        self._finder = Finder(service, objects)

    async def list(self, params: Listing, lines: AsyncIterator[Any]) -> AsyncGenerator[object, None]:
        return self._listed(sleeping=params.all)

    async def _listed(self, *, sleeping: bool) -> AsyncGenerator[object, None]:
        running = self._service.controllers()
        for shown in await asyncio.gather(*(self._shown(controller) for controller in running)):
            yield shown
        known = {(each.subject.class_name, each.subject.object_id) for each in running}
        after: tuple[str, bytes] | None = ("", b"") if sleeping else None
        while after is not None:
            page = await self._service.records.page(after, _PAGE)
            for record in page:
                if (record.class_name, record.object_id.hex()) not in known:
                    yield _recorded(record)
            after = (page[-1].class_name, page[-1].object_id) if len(page) == _PAGE else None

    async def _shown(self, controller: Controller) -> Listed:
        subject, incarnation = controller.subject, controller.incarnation
        running = None if incarnation is None else incarnation.running
        stats = None if running is None else await _within(controller, self._service.clock)
        return Listed(
            class_name=subject.class_name,
            name=subject.name,
            object_id=subject.object_id,
            state=str(controller.status),
            last_change=controller.last_change,
            exit_code=controller.exit_code,
            runtime=None if incarnation is None else self._service.runtime.name_of(incarnation.token),
            pid=None if running is None else running.pid,
            started_at=None if running is None else running.started_at,
            cpu_seconds=None if stats is None else stats.cpu_seconds,
            memory_bytes=None if stats is None else stats.memory_bytes,
            processes=None if stats is None else stats.processes,
            requests=controller.in_flight,
            connections=len(controller.connections),
        )

    async def stop(self, params: Stopping) -> Ended:
        controller = await self._finder.find(params.container)
        incarnation = controller.incarnation
        if incarnation is None:
            return await _ended(controller, was_running=False)
        try:
            await controller.stop(params.signal)
        except (TypeError, ValueError) as error:
            raise BadRequest(str(error)) from None
        if params.wait:
            await asyncio.shield(incarnation.exited)
        return await _ended(controller, was_running=True)

    async def destroy(self, params: Named) -> Ended:
        controller = await self._finder.find(params.container)
        was_running = controller.status not in DOWN
        await controller.destroy()
        return await _ended(controller, was_running=was_running)

    async def stats(self, params: Named) -> Stats:
        return await (await self._finder.find(params.container)).stats()

    async def logs(self, params: Logging, lines: AsyncIterator[Any]) -> AsyncGenerator[object, None]:
        controller = await self._finder.find(params.container)
        return read_logs(controller, follow=params.follow, tail=params.tail, since=params.since)

    async def exec(self, params: Executing, lines: AsyncIterator[Any]) -> AsyncGenerator[object, None]:
        return execute(await self._finder.find(params.container), params, lines)


async def _ended(controller: Controller, *, was_running: bool) -> Ended:
    await controller.books.recall()
    state = controller.state()
    return Ended(controller.subject.label, state.status, state.exit_code, was_running)


async def _within(controller: Controller, clock: Clock) -> Any:
    """What a container uses; None where that can't be told in time."""
    asking = asyncio.ensure_future(controller.stats())
    try:
        _, stats = await wait_for(clock, asking, STATS_WITHIN)
    except MooringsError:
        return None
    else:
        return stats
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def _recorded(record: ContainerRecord) -> Listed:
    """One that isn't in memory: it sleeps, whatever it did when it was recorded last."""
    return Listed(
        class_name=record.class_name,
        name=record.name,
        object_id=record.object_id.hex(),
        state=str(record.status),
        last_change=record.last_change,
        exit_code=record.exit_code,
    )
