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
from moorings.containers.service import Budgets, ContainerService, UnrecordedJournal
from moorings.observer import ErrorReported, Recorder, StateChanged
from moorings.runtimes.base import OnClose
from moorings.runtimes.fake import FakeMachine, FakeRuntime, Script, ScriptFor
from moorings.server.objects import Objects
from moorings.worker.entrypoint import WorkerEntrypoint
from moorings.worker.loader import Application

T = TypeVar("T")


class Harness:
    """One Container class, its namespace, and everything the tests look at."""

    def __init__(self, cls: type[Container], script: Script | ScriptFor) -> None:
        self.clock = ManualClock()
        self.recorder = Recorder()
        self.machine = FakeMachine(self.clock, script)
        self.runtime = FakeRuntime(self.machine)
        self.service = ContainerService(
            app="test",
            runtime=self.runtime,
            clock=self.clock,
            observer=self.recorder,
            journal=UnrecordedJournal(),
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

    async def close(self) -> None:
        await self.runtime.close(OnClose.KILL)
        await self.objects.shutdown()


@asynccontextmanager
async def harness(cls: type[Container], script: Script | ScriptFor) -> AsyncIterator[Harness]:
    """A Harness that is closed at the end; no error may have been reported that the test didn't take out."""
    built = Harness(cls, script)
    await built.runtime.open(built.service)
    try:
        yield built
    finally:
        await built.close()
