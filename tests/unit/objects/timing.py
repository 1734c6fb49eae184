"""Objects that are woken, on a clock that stands still until it is moved and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moorings.clock import ManualClock
from moorings.containers.container import Container
from moorings.containers.options import read_options
from moorings.containers.records import StoredRecords
from moorings.containers.service import Budgets, ContainerService
from moorings.errors import StoreError
from moorings.objects.durable_object import DurableObject
from moorings.objects.sql_files import SqlFiles
from moorings.observer import ErrorReported, Recorder
from moorings.runtimes.fake import FakeMachine, FakeRuntime, Script
from moorings.server.objects import Objects, StorageParts
from moorings.server.platform import MIGRATIONS
from moorings.store import SqliteStore
from moorings.worker.entrypoint import WorkerEntrypoint
from moorings.worker.loader import Application


class Place:
    """The objects of some classes and their timers, on a store."""

    def __init__(self, store: SqliteStore, files: SqlFiles, clock: ManualClock, classes: tuple[type, ...]) -> None:
        self.store = store
        self.clock = clock
        self.recorder = Recorder()
        service = ContainerService(
            app="test",
            runtime=FakeRuntime(FakeMachine(clock, Script())),
            clock=clock,
            observer=self.recorder,
            records=StoredRecords(store, self._failed),
            budgets=Budgets(),
        )
        options = {cls.__name__: read_options(cls, Path("/")) for cls in classes if issubclass(cls, Container)}
        app = Application(Path("/worker.py"), WorkerEntrypoint, {cls.__name__: cls for cls in classes}, options)
        self.objects = Objects(
            app, {}, service=service, clock=clock, observer=self.recorder, storage=StorageParts(store, files)
        )

    @staticmethod
    def _failed(error: StoreError) -> None:
        raise AssertionError(error)

    def stub(self, cls: type, name: str = "a") -> Any:
        return self.objects.namespaces[cls.__name__].get_by_name(name)

    @property
    def errors(self) -> list[BaseException]:
        """What was reported because nobody else could receive it."""
        return [event.error for event in self.recorder.events if isinstance(event, ErrorReported)]

    async def rows(self) -> list[tuple[Any, ...]]:
        """Class, kind and attempts of every timer that is stored."""
        await self.settle()
        return await self.store.read("SELECT class_name, kind, attempts FROM objects_timers ORDER BY due")

    async def settle(self) -> None:
        """Let everything happen that needs no time to pass, the disk included."""
        quiet = 0
        while quiet < 3:
            await self.clock.settle()
            commits = self.store.commits
            await self.store.flush()
            await self.clock.settle()
            quiet = quiet + 1 if self.store.commits == commits else 0

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let everything happen that follows."""
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()


@asynccontextmanager
async def place(folder: Path, *classes: type, clock: ManualClock | None = None) -> AsyncIterator[Place]:
    """A place that delivers timers until the block ends."""
    clock = clock or ManualClock()
    store = await SqliteStore.open(folder, migrations=MIGRATIONS, clock=clock)
    files = SqlFiles(folder / "sql")
    here = Place(store, files, clock, classes)
    assert here.objects.timing is not None
    await here.objects.timing.timers.start()
    try:
        yield here
    finally:
        await here.objects.timing.timers.stop()
        await here.objects.shutdown()
        await files.close()
        await store.close()


class Sleeper(DurableObject):
    """Counts its alarms; the tests say what else an alarm does."""

    calls: list[tuple[str, float]]
    then: Any = None  # a function that is given the object

    def set(self, when: Any) -> None:
        self.ctx.storage.set_alarm(when)

    def set_twice(self, first: float, second: float) -> None:
        self.ctx.storage.set_alarm(first)
        self.ctx.storage.set_alarm(second)

    def delete(self) -> None:
        self.ctx.storage.delete_alarm()

    async def due(self) -> float | None:
        return await self.ctx.storage.get_alarm()

    async def alarm(self) -> None:
        self.calls.append((self.ctx.id.name or "", self.clock.time()))
        if self.then is not None:
            result = self.then()
            if asyncio.iscoroutine(result):
                await result

    clock: ManualClock


class Job(Container):
    """Keeps what its schedules bring."""

    entrypoint = ["true"]
    calls: list[Any]

    async def plan(self, when: Any, callback: str, payload: Any = None) -> Any:
        return await self.schedule(when, callback, payload)

    async def planned(self) -> list[Any]:
        return list(await self.list_schedules())

    def unplan(self, schedule_id: str) -> None:
        self.cancel_schedule(schedule_id)

    def note(self, payload: Any) -> None:
        self.calls.append(payload)

    def tick(self) -> None:
        self.calls.append("tick")

    def fail(self) -> None:
        self.calls.append("fail")
        raise RuntimeError("no luck")

    def alarm(self) -> None:
        self.calls.append("alarm")

    def set(self, when: Any) -> None:
        self.ctx.storage.set_alarm(when)


def forget() -> None:
    """Forget what a test before has left."""
    Sleeper.calls = []
    Sleeper.then = None
    Job.calls = []


async def sleeping(folder: Path) -> Any:
    """A place with sleepers that know its clock."""
    clock = ManualClock()
    Sleeper.clock = clock
    return place(folder, Sleeper, clock=clock)


def names() -> list[str]:
    """Whose alarms were fired, in order."""
    return [name for name, _ in Sleeper.calls]
