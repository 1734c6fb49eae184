"""What is stored of a container: one row, written with every move, so that a platform that died finds all again.

The row written before a program is spawned is the *intent*: it carries the token that the process will carry. Whatever
runs without a row that claims its token is nobody's and is removed; whatever a row claims is adopted, or its end is
told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from moorings.containers.lifecycle import Status
from moorings.errors import StoreError
from moorings.runtimes.base import ExitReason
from moorings.store import Commit, Group, Migration, Store

MIGRATIONS = (
    Migration(
        "containers",
        1,
        (
            """CREATE TABLE container (
                 class_name TEXT NOT NULL,
                 object_id BLOB NOT NULL,
                 name TEXT,
                 status TEXT NOT NULL,
                 last_change REAL NOT NULL,
                 exit_code INTEGER,
                 token TEXT,
                 active_at REAL NOT NULL,
                 kill_at REAL,
                 started INTEGER NOT NULL,
                 PRIMARY KEY (class_name, object_id)
               )""",
            "CREATE INDEX container_unfinished ON container (token) WHERE token IS NOT NULL",
            """CREATE TABLE container_exit (
                 token TEXT PRIMARY KEY,
                 class_name TEXT NOT NULL,
                 object_id BLOB NOT NULL,
                 name TEXT,
                 code INTEGER NOT NULL,
                 reason TEXT NOT NULL,
                 at REAL NOT NULL
               )""",
        ),
    ),
    Migration(
        "containers",
        2,
        (
            """CREATE TABLE container_spare (
                 token TEXT PRIMARY KEY,
                 class_name TEXT NOT NULL,
                 options TEXT NOT NULL
               )""",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container as it is stored. Times are in Unix seconds.

    ``token`` is set from the intent until the end; ``started`` says whether ``on_start`` has run; ``kill_at`` is the
    SIGKILL deadline of a stop whose signal was sent.
    """

    class_name: str
    object_id: bytes
    name: str | None
    status: Status
    last_change: float
    exit_code: int | None
    token: str | None
    active_at: float
    kill_at: float | None
    started: bool


@dataclass(frozen=True, slots=True)
class PendingExit:
    """An end whose ``on_exit`` has not returned yet: kept until it has, so that the hook runs at least once."""

    token: str
    class_name: str
    object_id: bytes
    name: str | None
    code: int
    reason: ExitReason
    at: float


@dataclass(frozen=True, slots=True)
class SpareRecord:
    """A container that belongs to no object yet. ``options`` is the fingerprint of what it was started with."""

    token: str
    class_name: str
    options: str


class ContainerRecords(Protocol):
    """Where records are kept."""

    def write(self, record: ContainerRecord) -> Commit | None:
        """Store a record, replacing the container's last one. None where it is kept already."""

    def claim(self, record: ContainerRecord) -> Commit | None:
        """Store the record of a container that has been a spare until now, and is none any more: both or neither."""

    def spare(self, record: SpareRecord) -> Commit | None:
        """Keep a spare."""

    def no_spare(self, token: str) -> Commit | None:
        """A spare is no more."""

    async def spares(self) -> list[SpareRecord]:
        """The spares. Raises StoreError."""

    async def find(self, class_name: str, object_id: bytes) -> ContainerRecord | None:
        """A container's record. Raises StoreError."""

    async def page(self, after: tuple[str, bytes], limit: int) -> list[ContainerRecord]:
        """The ``limit`` records that follow a class and an id, in their order. Raises StoreError."""

    async def unfinished(self) -> list[ContainerRecord]:
        """The records with a token. Raises StoreError."""

    def ended(self, exit: PendingExit) -> None:
        """Keep an end until it is told."""

    def told(self, token: str) -> None:
        """The end of an incarnation was told."""

    async def untold(self) -> list[PendingExit]:
        """The ends that were not told. Raises StoreError."""


_COLUMNS = "class_name, object_id, name, status, last_change, exit_code, token, active_at, kill_at, started"
_NAMES = _COLUMNS.split(", ")
_WRITE = (
    f"INSERT INTO container ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (class_name, object_id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:])
)
_FIND = f"SELECT {_COLUMNS} FROM container WHERE class_name = ? AND object_id = ?"
_PAGE = (
    f"SELECT {_COLUMNS} FROM container WHERE class_name > ? OR (class_name = ? AND object_id > ?) "
    "ORDER BY class_name, object_id LIMIT ?"
)
_EXIT_COLUMNS = "token, class_name, object_id, name, code, reason, at"
_END = f"INSERT INTO container_exit ({_EXIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (token) DO NOTHING"
_TOLD = "DELETE FROM container_exit WHERE token = ?"
_UNTOLD = f"SELECT {_EXIT_COLUMNS} FROM container_exit"
_SPARE = (
    "INSERT INTO container_spare (token, class_name, options) VALUES (?, ?, ?) "
    "ON CONFLICT (token) DO UPDATE SET options = excluded.options"
)
_NO_SPARE = "DELETE FROM container_spare WHERE token = ?"
_SPARES = "SELECT token, class_name, options FROM container_spare"
_UNFINISHED = f"SELECT {_COLUMNS} FROM container WHERE token IS NOT NULL"


class StoredRecords:
    """Records as rows of the store. Each write stands alone: one that fails takes no other with it."""

    def __init__(self, store: Store, failed: Callable[[StoreError], None]) -> None:
        self._store = store
        self._failed = failed

    def write(self, record: ContainerRecord) -> Commit | None:
        return self._write(record, self._group(f"{record.class_name}/{record.name}"))

    def claim(self, record: ContainerRecord) -> Commit | None:
        group = self._group(f"{record.class_name}/{record.name}")
        group.write(_NO_SPARE, (record.token,))
        return self._write(record, group)

    def spare(self, record: SpareRecord) -> Commit | None:
        return self._group(record.token).write(_SPARE, (record.token, record.class_name, record.options))

    def no_spare(self, token: str) -> Commit | None:
        return self._group(token).write(_NO_SPARE, (token,))

    async def spares(self) -> list[SpareRecord]:
        return [SpareRecord(*row) for row in await self._store.read(_SPARES)]

    def _write(self, record: ContainerRecord, group: Group) -> Commit:
        row = (
            record.class_name,
            record.object_id,
            record.name,
            str(record.status),
            record.last_change,
            record.exit_code,
            record.token,
            record.active_at,
            record.kill_at,
            int(record.started),
        )
        return group.write(_WRITE, row)

    async def find(self, class_name: str, object_id: bytes) -> ContainerRecord | None:
        rows = await self._store.read(_FIND, (class_name, object_id))
        return _record(rows[0]) if rows else None

    async def page(self, after: tuple[str, bytes], limit: int) -> list[ContainerRecord]:
        class_name, object_id = after
        rows = await self._store.read(_PAGE, (class_name, class_name, object_id, limit))
        return [_record(row) for row in rows]

    async def unfinished(self) -> list[ContainerRecord]:
        return [_record(row) for row in await self._store.read(_UNFINISHED)]

    def ended(self, exit: PendingExit) -> None:
        row = (exit.token, exit.class_name, exit.object_id, exit.name, exit.code, str(exit.reason), exit.at)
        self._group(exit.token).write(_END, row)

    def told(self, token: str) -> None:
        self._group(token).write(_TOLD, (token,))

    async def untold(self) -> list[PendingExit]:
        names = _EXIT_COLUMNS.split(", ")
        rows = await self._store.read(_UNTOLD)
        return [msgspec.convert(dict(zip(names, row, strict=True)), PendingExit) for row in rows]

    def _group(self, label: str) -> Group:
        return self._store.group(f"container {label}", on_failure=self._failed)


def _record(row: tuple[object, ...]) -> ContainerRecord:
    return msgspec.convert(dict(zip(_NAMES, row, strict=True)), ContainerRecord, strict=False)
