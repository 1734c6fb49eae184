"""A container service on the scripted runtime and a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from moorings.clock import ManualClock
from moorings.containers.container import Container
from moorings.containers.controller import Controller
from moorings.containers.options import read_options
from moorings.containers.records import ContainerRecord, PendingExit, SpareRecord
from moorings.containers.service import Budgets, ContainerService
from moorings.containers.spares import SparePool
from moorings.observer import ErrorReported, Recorder, StateChanged
from moorings.runtimes.base import OnClose
from moorings.runtimes.fake import FakeMachine, FakeRuntime, Script, ScriptFor
from moorings.server.adopting import adopt_all
from moorings.server.objects import Objects
from moorings.store import Commit
from moorings.worker.entrypoint import WorkerEntrypoint
from moorings.worker.loader import Application

T = TypeVar("T")


class MemoryRecords:
    """Records that outlive a Harness as rows outlive the platform; the stored ones are tested against a real store."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], ContainerRecord] = {}
        self.exits: dict[str, PendingExit] = {}
        self.spare_rows: dict[str, SpareRecord] = {}

    def write(self, record: ContainerRecord) -> Commit | None:
        self.rows[record.class_name, record.object_id] = record
        return None

    def claim(self, record: ContainerRecord) -> Commit | None:
        self.spare_rows.pop(record.token or "", None)
        return self.write(record)

    def spare(self, record: SpareRecord) -> Commit | None:
        self.spare_rows[record.token] = record
        return None

    def no_spare(self, token: str) -> Commit | None:
        self.spare_rows.pop(token, None)
        return None

    async def spares(self) -> list[SpareRecord]:
        return list(self.spare_rows.values())

    async def find(self, class_name: str, object_id: bytes) -> ContainerRecord | None:
        return self.rows.get((class_name, object_id))

    async def page(self, after: tuple[str, bytes], limit: int) -> list[ContainerRecord]:
        return [self.rows[key] for key in sorted(self.rows) if key > after][:limit]

    async def unfinished(self) -> list[ContainerRecord]:
        return [record for record in self.rows.values() if record.token is not None]

    def ended(self, exit: PendingExit) -> None:
        self.exits[exit.token] = exit

    def told(self, token: str) -> None:
        self.exits.pop(token, None)

    async def untold(self) -> list[PendingExit]:
        return list(self.exits.values())


class Harness:
    """One Container class, its namespace, and everything the tests look at.

    ``after`` is the Harness that it is restarted from.
    """

    def __init__(self, cls: type[Container], script: Script | ScriptFor, *, after: Harness | None = None) -> None:
        self.clock: ManualClock = ManualClock() if after is None else after.clock
        self.recorder = Recorder()
        self.records: MemoryRecords = MemoryRecords() if after is None else after.records
        self.machine: FakeMachine = FakeMachine(self.clock, script) if after is None else after.machine
        self.runtime = FakeRuntime(self.machine)
        self.service = ContainerService(
            app="test",
            runtime=self.runtime,
            clock=self.clock,
            observer=self.recorder,
            records=self.records,
            budgets=Budgets(),
        )
        self.cls = cls
        self.objects = Objects(
            self.application(cls), {}, service=self.service, clock=self.clock, observer=self.recorder
        )
        self.namespace = self.objects.namespaces[cls.__name__]

    @staticmethod
    def application(cls: type[Container]) -> Application:
        options = read_options(cls, Path("/"))
        return Application(Path("/worker.py"), WorkerEntrypoint, {cls.__name__: cls}, {cls.__name__: options})

    def stub(self, name: str = "a") -> Any:
        return self.namespace.get_by_name(name)

    @property
    def pool(self) -> SparePool:
        """The warm spares of the class."""
        return self.objects.spares[self.cls.__name__]

    def controller(self, name: str = "a") -> Controller:
        hosted = self.namespace.activate(self.namespace.id_from_name(name)).hosted
        assert isinstance(hosted, Controller)
        return hosted

    def instance(self, name: str = "a") -> Any:
        return self.namespace.activate(self.namespace.id_from_name(name)).instantiated()

    @property
    def moves(self) -> list[str]:
        """The states that containers have come to, in order."""
        return [event.new for event in self.recorder.events if isinstance(event, StateChanged)]

    @property
    def errors(self) -> list[BaseException]:
        """The errors that were reported because nobody else received them."""
        return [event.error for event in self.recorder.events if isinstance(event, ErrorReported)]

    async def run(self, call: Awaitable[T], *, step: float = 0.001, within: float = 60.0) -> T:
        """Let the clock run until ``call`` is done, and return its result."""
        future = asyncio.ensure_future(call)
        end = self.clock.monotonic() + within
        await self.settle()
        while not future.done():
            assert self.clock.monotonic() < end, f"not done after {within} s of the clock"
            await self.clock.advance(step)
            step = min(step * 1.5, 0.5)
        return await future

    async def settle(self) -> None:
        """Let everything happen that needs no time to pass."""
        await self.clock.settle(50)

    async def open(self) -> None:
        found = await self.runtime.open(self.service)
        await adopt_all(found, service=self.service, objects=self.objects, clock=self.clock, observer=self.recorder)
        self.objects.open_spares()

    async def restarted(self, cls: type[Container] | None = None) -> Harness:
        """The platform is gone at once, as by kill -9, and a new one has started on the same machine and records."""
        rows, exits, spares = dict(self.records.rows), dict(self.records.exits), dict(self.records.spare_rows)
        await self.runtime.close(OnClose.KEEP)
        await self.objects.shutdown()
        self.records.rows, self.records.exits, self.records.spare_rows = rows, exits, spares
        new = Harness(cls or self.cls, self.machine.script, after=self)
        await new.open()
        return new

    async def close(self) -> None:
        await self.runtime.close(OnClose.KILL)
        await self.objects.shutdown()


@asynccontextmanager
async def harness(cls: type[Container], script: Script | ScriptFor) -> AsyncIterator[Harness]:
    """A Harness that is closed at the end."""
    built = Harness(cls, script)
    await built.open()
    try:
        yield built
    finally:
        await built.close()
