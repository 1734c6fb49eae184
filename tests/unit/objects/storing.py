"""A store, its files and an object's storage in a folder, for the storage's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.objects import timers
from moorings.objects.sql_files import SqlFiles
from moorings.objects.storage import MIGRATIONS, Storage
from moorings.objects.timers import TimerOwner
from moorings.store import SqliteStore, Synchronous

TABLES = (*MIGRATIONS, *timers.MIGRATIONS)


class Wakes:
    """Remembers what an alarm was changed to."""

    def __init__(self) -> None:
        self.changes: list[float | None] = []

    def check(self) -> None:
        """Every class has an alarm."""

    def changed(self, due: float | None) -> None:
        self.changes.append(due)


class Place:
    """What belongs to one platform on one folder."""

    def __init__(self, store: SqliteStore, files: SqlFiles) -> None:
        self.store = store
        self.files = files
        self.clock = ManualClock(start=1000.0)
        self.wakes = Wakes()
        self.writes = 0
        self.failures: list[StoreError] = []

    def _wrote(self) -> None:
        self.writes += 1

    def storage(
        self, name: int = 1, exclusive: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None
    ) -> Storage:
        return Storage(
            self.store,
            TimerOwner(bytes([name]) * 32, "Thing", str(name)),
            label=f"Thing/{name}",
            files=self.files,
            alarms=self.wakes,
            clock=self.clock,
            on_write=self._wrote,
            on_failure=self.failures.append,
            exclusive=exclusive,
        )


@asynccontextmanager
async def place(folder: Path, *, synchronous: Synchronous = Synchronous.FULL) -> AsyncIterator[Place]:
    store = await SqliteStore.open(folder, migrations=TABLES, clock=ManualClock(), synchronous=synchronous)
    files = SqlFiles(folder / "sql", synchronous=synchronous)
    try:
        yield Place(store, files)
    finally:
        await files.close()
        await store.close()
