"""Objects on a real store whose commits a test can hold back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.objects.activation import Activation
from moorings.objects.durable_object import DurableObject
from moorings.objects.namespace import Namespace
from moorings.objects.state import DurableObjectState
from moorings.objects.storage import Storage
from moorings.objects.timers import TimerOwner
from moorings.observer import Recorder
from moorings.store.journal import Unit
from tests.unit.objects.storing import Place, place


class Held:
    """A place whose writer thread waits before each commit while ``hold`` is in force."""

    def __init__(self, here: Place) -> None:
        self.place = here
        self.recorder = Recorder()
        self._free = threading.Event()
        self._free.set()
        self._apply = here.store.writer.apply
        here.store.writer.apply = self._held  # type: ignore[method-assign]  # the disk is slow when the test says so

    def _held(self, batch: Sequence[Unit], waiting: Callable[[], None]) -> list[StoreError | None]:
        self._free.wait()
        return self._apply(batch, waiting)

    def hold(self) -> None:
        """Nothing becomes durable from now on."""
        self._free.clear()

    def release(self) -> None:
        """Go on."""
        self._free.set()

    def namespace(self, cls: type[DurableObject], env: Any = None) -> Namespace:
        """A namespace whose objects have storage here."""

        def open_storage(activation: Activation) -> Storage:
            return Storage(
                self.place.store,
                TimerOwner(activation.id.raw, cls.__name__, activation.id.name),
                label=activation.subject.label,
                files=self.place.files,
                alarms=self.place.wakes,
                clock=self.place.clock,
                on_write=lambda: None,
                on_failure=activation.storage_failed,
                exclusive=activation.block,
            )

        def equip(activation: Activation, cls: type[DurableObject]) -> None:
            activation.env = env
            activation.state = DurableObjectState(activation, {}, open_storage)

        return Namespace(cls, equip=equip, clock=self.place.clock, observer=self.recorder)

    async def settle(self) -> None:
        """Let everything happen that doesn't wait for the disk."""
        await ManualClock.settle(50)

    async def held_back(self, call: Any) -> Any:
        """Assert that ``call`` waits for the disk while it is held, and return its result afterwards."""
        task = asyncio.ensure_future(call)
        await self.settle()
        assert not task.done(), "it left before its writes were durable"
        self.release()
        return await task


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[Held]:
    """A Held on a folder."""
    async with place(folder) as here:
        built = Held(here)
        try:
            yield built
        finally:
            built.release()
