"""An engine on a real SQLite file, that can be crashed between any two commits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.observer import Recorder
from moorings.store import Args, Commit, Group, Migration, Row, SqliteStore, Synchronous
from moorings.workflows import records
from moorings.workflows.binding import Workflow, WorkflowInstance
from moorings.workflows.definitions import define
from moorings.workflows.engine import Engine
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.lifecycle import TABLE
from moorings.workflows.operations import InstanceStatus, Operations
from moorings.workflows.run import Leaving
from tests.support.waiting import eventually

ENDED = ("complete", "errored", "terminated")
MOVES = {(str(old), str(new)) for (old, _), new in TABLE.items()}

MOVES_SEEN = Migration(
    "moves_seen",
    1,
    (
        "CREATE TABLE moves_seen (old TEXT, new TEXT)",
        """CREATE TRIGGER moves_seen AFTER UPDATE OF status ON workflows_instances WHEN old.status <> new.status
           BEGIN INSERT INTO moves_seen VALUES (old.status, new.status); END""",
    ),
)
"""Notes each change of a status that is stored; ``Lab.close`` holds them against the table of the life cycle."""


class PowerCut:
    """A store that stores nothing more after ``left`` further units; what waits for those waits for ever."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.left: int | None = None
        self.units: list[Commit] = []

    def group(self, label: str, *, on_failure: Callable[[StoreError], None] | None = None) -> Group:
        return _CutGroup(self, self.store.group(label, on_failure=on_failure))

    async def read(self, sql: str, args: Args = ()) -> list[Row]:
        return await self.store.read(sql, args)

    async def close(self) -> None:
        await self.store.close()


class _CutGroup:
    def __init__(self, power: PowerCut, group: Group) -> None:
        self._power = power
        self._group = group
        self._lost: Commit | None = None

    @property
    def label(self) -> str:
        return self._group.label

    @property
    def failed(self) -> StoreError | None:
        return self._group.failed

    def write(self, sql: str, args: Args = (), *, expect: int | None = None) -> Commit:
        power = self._power
        if self._lost is not None:
            return self._lost
        if power.left is not None:
            open_unit = self._group.pending()
            if power.left <= 0 and (open_unit is None or open_unit not in power.units or open_unit.done()):
                self._lost = Commit()
                return self._lost
        unit = self._group.write(sql, args, expect=expect)
        if unit not in power.units:
            power.units.append(unit)
            if power.left is not None:
                power.left -= 1
        return unit

    def pending(self) -> Commit | None:
        return self._lost or self._group.pending()


class Lab:
    """One platform's workflows after another, on one store. Time stands still unless ``clock`` is moved."""

    def __init__(self, store: SqliteStore, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.observer = Recorder()
        self.power = PowerCut(store)
        self.env: Any = None
        self.engine: Engine
        self.operations: Operations

    @classmethod
    async def open(cls, folder: Path) -> Lab:
        clock = ManualClock(start=1_000_000_000.0)
        store = await SqliteStore.open(
            folder, migrations=(*records.MIGRATIONS, MOVES_SEEN), clock=clock, synchronous=Synchronous.OFF
        )
        return cls(store, clock)

    async def start(self, *classes: type[WorkflowEntrypoint], **options: Any) -> Lab:
        """A platform with these workflows; it takes over what the one before has left."""
        self.power = PowerCut(self.store)
        self.engine = Engine(
            self.power, clock=self.clock, observer=self.observer, instantiate=lambda cls: cls(None, self.env)
        )
        self.operations = Operations(self.engine)
        await self.engine.start([define(cls, **options) for cls in classes])
        return self

    def of(self, cls: type[WorkflowEntrypoint]) -> Workflow:
        return Workflow(self.operations, cls.__name__, cls.__name__)

    async def crash(self) -> None:
        """End the platform as kill -9 does: nothing that it does from now on is stored."""
        self.power.left = 0
        await self.store.flush()
        for live in self.engine.live.values():
            live.run.leave(Leaving.TAKEN)
        await ManualClock.settle()
        await self.engine.tasks.close()  # those that wait for what is never stored
        await self.engine.close(grace=0.0)

    async def close(self) -> None:
        await self.engine.close(grace=0.0)
        seen = await self.store.read("SELECT DISTINCT old, new FROM moves_seen")
        await self.store.close()
        assert set(seen) <= MOVES, f"moves that the table doesn't have: {set(seen) - MOVES}"

    async def status(self, instance: WorkflowInstance) -> str:
        return (await instance.status()).status

    async def reaches(self, instance: WorkflowInstance, *statuses: str) -> InstanceStatus:
        """Wait until it has one of these statuses as a row, and is out of memory unless it runs."""

        async def there() -> InstanceStatus | None:
            status = await instance.status()
            row = await self.operations.find(instance._name, instance.id)
            at_rest = row.key not in self.engine.live or "running" in statuses or "waiting_for_pause" in statuses
            return status if status.status in statuses and at_rest else None

        found = await eventually(there, f"{instance} is {' or '.join(statuses)}")
        assert found is not None
        return found

    async def ends(self, instance: WorkflowInstance) -> InstanceStatus:
        return await self.reaches(instance, *ENDED)

    async def after(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)
