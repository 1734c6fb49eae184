"""The embedded store: one SQLite file, in WAL mode, one writer thread, one reader on the event loop's thread.

Invariants: ``synchronous=FULL`` makes every commit an fsync before anybody is told of it. Readers never wait for the
writer, nor it for them, and see committed rows only. A file that is damaged, foreign or newer is refused and left as
it is.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from moorings.clock import Clock
from moorings.errors import StoreError
from moorings.store import migrations as schema
from moorings.store.base import Args, Group, Migration, Row
from moorings.store.folder import sync_folder
from moorings.store.journal import Journal
from moorings.store.sqlite_errors import FOREIGN_ERRORS, damaged, is_damage, translate
from moorings.store.sqlite_writer import SqliteWriter

FILE_NAME: Final = "moorings.sqlite"
_APPLICATION_ID: Final = 0x4D4F4F52  # "MOOR", in the file's header
_CHECKED_SIZE: Final = 64 * 2**20
_WRITER_PATIENCE: Final = 30_000  # ms, while another program (a backup, a shell) holds a lock
_READER_PATIENCE: Final = 5_000
_LOG_LIMIT: Final = 64 * 2**20


class Synchronous(StrEnum):
    """How much of a commit must be on the disk before it counts (https://sqlite.org/pragma.html#pragma_synchronous)."""

    FULL = "FULL"  # all of it
    NORMAL = "NORMAL"  # nothing gets torn, but a power cut may take back the last commits
    OFF = "OFF"  # a power cut may destroy the file


class SqliteStore:
    """See ``moorings.store.base.Store``. Made by ``open``."""

    def __init__(self, path: Path, reader: sqlite3.Connection, connection: sqlite3.Connection) -> None:
        self.path = path
        self.writer = SqliteWriter(connection, path)
        self._connection = connection
        self._reader = reader
        self._journal = Journal(self.writer, name="store")
        self._closing: asyncio.Future[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        migrations: Iterable[Migration],
        clock: Clock,
        synchronous: Synchronous = Synchronous.FULL,
    ) -> SqliteStore:
        """Open or create the database in ``folder`` (an existing folder that this process has locked), and migrate it.

        Raises StoreError where the file is damaged, not ours, from a newer version, or cannot be written.
        """
        path = folder / FILE_NAME
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(
            None, _open_database, path, tuple(migrations), clock.time(), synchronous
        )
        try:
            reader = _connect(path, synchronous, patience=_READER_PATIENCE)
            reader.execute("PRAGMA query_only=ON")
        except sqlite3.Error as error:
            connection.close()
            raise translate(error, path) from error
        return cls(path, reader, connection)

    def group(self, label: str, *, on_failure: Callable[[StoreError], None] | None = None) -> Group:
        return self._journal.group(label, on_failure)

    async def read(self, sql: str, args: Args = ()) -> list[Row]:
        if self._closed:
            raise StoreError(f"the store {self.path} is closed")
        try:
            return self._reader.execute(sql, args).fetchall()
        except FOREIGN_ERRORS as error:
            raise translate(error, self.path) from error

    @property
    def commits(self) -> int:
        """Transactions committed since ``open``."""
        return self._journal.commits

    async def flush(self) -> None:
        """Return when everything queued so far has its outcome."""
        await self._journal.flush()

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._journal.close(StoreError(f"the store {self.path} is closed"))
        self._closed = True
        self._reader.close()
        # The last connection to close moves the log into the database, with an fsync: not a thing for the loop's
        # thread.
        await asyncio.get_running_loop().run_in_executor(None, self._connection.close)


def _connect(path: Path, synchronous: Synchronous, *, patience: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        connection.execute(f"PRAGMA busy_timeout={patience}")
        connection.execute(f"PRAGMA synchronous={synchronous.value}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA trusted_schema=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_database(
    path: Path, migrations: tuple[Migration, ...], now: float, synchronous: Synchronous
) -> sqlite3.Connection:
    """The writer's connection to a sound, migrated database."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _connect(path, synchronous, patience=_WRITER_PATIENCE)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}): check its permissions and its mount") from error
    except sqlite3.Error as error:
        raise translate(error, path) from error
    try:
        _check(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_LIMIT}")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        _migrate(connection, path, migrations, now)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise translate(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError where the file is damaged or belongs to another program. Large files are read only in part."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        whole = path.stat().st_size <= _CHECKED_SIZE
        findings = connection.execute("PRAGMA quick_check(1)").fetchall() if tables and whole else [("ok",)]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damaged(path, str(error)) from error
        raise
    if findings != [("ok",)]:
        raise damaged(path, str(findings[0][0]).replace("\n", " "))
    if tables and application != _APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program; name another folder with --data-dir")


def _migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...], now: float) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute(schema.CREATE)
        applied = connection.execute(schema.SELECT).fetchall()
        for step in schema.missing(migrations, applied, database=str(path)):
            for statement in step.statements:
                connection.execute(statement)
            connection.execute(schema.INSERT, (step.package, step.number, now))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
