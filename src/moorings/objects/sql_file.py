"""One object's private SQLite file: a transaction for each turn of the event loop, durable without blocking the loop.

Statements run at once, on the loop's thread. At the end of the turn the transaction is committed there too, which in
WAL mode with ``synchronous=NORMAL`` writes to the log but does not wait for the disk; the fsync that FULL would add
is done on a worker thread, and the turn's ``Commit`` resolves after it. Turns that end while a sync is running share
the next one.

Invariants: the jobs of one file run one after the other. The log is bounded by checkpoints on the worker threads. A
file that holds nothing any more is removed after it was closed.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from moorings.errors import StoreError
from moorings.objects.sql_guard import Guard
from moorings.store import Commit, Synchronous
from moorings.store.folder import sync_folder
from moorings.store.sqlite_errors import translate

if TYPE_CHECKING:
    from moorings.objects.sql_files import JobError, SqlFiles

_PATIENCE: Final = 5_000  # ms; another connection of ours may be closing the same file
_LOG_BYTES: Final = 4 * 2**20
_MAX_PAGES: Final = 10 * 2**30 // 4096
_MAX_VALUE: Final = 2 * 2**20
_MAX_STATEMENT: Final = 2**20
_COUNT: Final = "SELECT count(*) FROM sqlite_schema WHERE substr(name, 1, 7) <> 'sqlite_'"


class SqlFile:
    """An open database. ``connection`` is for queries at any time, and for writes after ``begin``."""

    def __init__(self, files: SqlFiles, path: Path) -> None:
        self.path = path
        self.failed: StoreError | None = None
        """Why a turn was not stored; the file takes no more writes then."""
        self.on_failure: Callable[[StoreError], None] | None = None
        self.guard = Guard(files.monotonic)
        self.connection = _connect(path, files.synchronous)
        self.guard.watch(self.connection)
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._log: int | None = None
        self._known = False  # whether the folders that lead to the file are durable
        self._turn: Commit | None = None
        self._written: Commit | None = None  # committed, and waiting for a sync
        self._busy = False
        self._closed = False
        self._checkpoint_due = False
        self._catch_up = False
        self._wiped = False
        self._empty = False
        self.checkpoint_error: StoreError | None = None
        """Why the last checkpoint failed; the log then grows until one succeeds, and nothing is lost."""

    # --- turns, on the loop's thread ----------------------------------------------------------------------------

    def begin(self) -> Commit:
        """Open this turn's transaction, where it isn't; its commit. Raises StoreError."""
        if self.failed is not None:
            raise StoreError(f"an earlier write to {self.path.name} was not stored ({self.failed})")
        if self._turn is None:
            try:
                self._own("BEGIN")
            except sqlite3.Error as error:
                raise translate(error, self.path) from error
            self._turn = Commit()
            self._loop.call_soon(self.end_turn)
        return self._turn

    def wipe(self) -> Commit:
        """Delete all there is, as the whole of this turn's transaction so far; its commit. Raises StoreError."""
        turn = self.begin()
        try:
            self._own("ROLLBACK")
            self._own("PRAGMA foreign_keys=OFF")  # within a transaction, this would do nothing
            self._own("BEGIN")
            self.guard.off = True
            drop_everything(self.connection)
        except sqlite3.Error as error:
            self._fail_turn(translate(error, self.path))
            raise translate(error, self.path) from error
        finally:
            self.guard.off = False
        self._wiped = True
        return turn

    def check(self) -> None:
        """To be called after a statement failed: fails the turn where SQLite has rolled all of it back."""
        if self._turn is not None and not self.connection.in_transaction:
            self._fail_turn(StoreError(f"{self.path} could not be written, and all of this turn was rolled back"))

    def end_turn(self) -> None:
        """Commit what the turn wrote, and have it synced."""
        if self._turn is None:
            return
        try:
            self._own("COMMIT")
            if self._wiped:
                self._wiped = False
                self._own("PRAGMA foreign_keys=ON")
            if self._log is None:
                self._log = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, sqlite3.Error) as error:
            self._fail_turn(translate(error, self.path))
            return
        turn, self._turn = self._turn, None
        if self._written is None:
            self._written = turn
        else:
            self._written.add_done_callback(lambda earlier: turn.resolve(earlier.error))
        if self._catch_up:
            self._catch_up = False
            try:
                self._own("PRAGMA wal_checkpoint(PASSIVE)")
            except sqlite3.Error as error:
                self.checkpoint_error = translate(error, self.path)
        self._pump()

    def _own(self, statement: str) -> None:
        """Run a statement of the platform."""
        self.guard.off = True
        try:
            self.connection.execute(statement)
        finally:
            self.guard.off = False

    def _fail_turn(self, error: StoreError) -> None:
        if self.connection.in_transaction:
            self._own("ROLLBACK")
        turn, self._turn = self._turn, None
        self._fail(error, turn)

    def close(self) -> None:
        """End the turn, and close the file once all is synced; idempotent. The commits under way get their outcome."""
        if not self._closed:
            self.end_turn()
            self._closed = True
            self._pump()

    # --- jobs, one at a time ------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._busy:
            return
        if self._written is not None:
            written, self._written = self._written, None
            self._run(self._sync_log, partial(self._synced, written))
        elif self._checkpoint_due and not self._catch_up:
            self._checkpoint_due = False
            self._run(self._checkpoint, self._checkpointed)
        elif self._closed:
            self._run(self._close, self._gone)

    def _run(self, job: Callable[[], None], done: Callable[[JobError | None], None]) -> None:
        self._busy = True
        self._files.run(job, done)

    def _synced(self, written: Commit, error: JobError | None) -> None:
        self._busy = False
        if error is None:
            written.resolve()
        else:
            behind, self._written = self._written, None
            self._fail(translate(error, self.path), written, behind)
        self._pump()

    def _checkpointed(self, error: JobError | None) -> None:
        self._busy = False
        self.checkpoint_error = None if error is None else translate(error, self.path)
        # SQLite starts the log anew when a write finds all of it in the database. A writer that never rests is always
        # one commit ahead of the worker, so the few pages that are left are moved right behind its next commit.
        self._catch_up = error is None and self._log_size() > 2 * _LOG_BYTES
        self._pump()

    def _gone(self, error: JobError | None) -> None:
        self._files.forget(self, empty=error is None and self._empty)

    def _fail(self, error: StoreError, *commits: Commit | None) -> None:
        self.failed = error
        for commit in commits:
            if commit is not None:
                commit.resolve(error)
        if self.on_failure is not None:
            self.on_failure(error)

    # --- on a worker thread -------------------------------------------------------------------------------------

    def _sync_log(self) -> None:
        assert self._log is not None
        if self._files.synchronous is not Synchronous.FULL:
            return
        if not self._known:
            sync_folder(self.path.parent)
            sync_folder(self.path.parent.parent)
            self._known = True
        os.fdatasync(self._log)
        self._checkpoint_due = self._log_size() > _LOG_BYTES

    def _log_size(self) -> int:
        return 0 if self._log is None else os.fstat(self._log).st_size

    def _checkpoint(self) -> None:
        # By a connection of its own: the loop's thread may go on using the other one.
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            connection.close()

    def _close(self) -> None:
        self.connection.set_authorizer(None)
        self.connection.set_progress_handler(None, 0)
        try:
            (objects,) = self.connection.execute(_COUNT).fetchone()
            self._empty = objects == 0
        finally:
            self.connection.close()
            if self._log is not None:
                os.close(self._log)


def _connect(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    except (OSError, sqlite3.Error) as error:
        raise translate(error, path) from error
    try:
        connection.execute(f"PRAGMA busy_timeout={_PATIENCE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'OFF' if synchronous is Synchronous.OFF else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES // 2}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute(f"PRAGMA max_page_count={_MAX_PAGES}")
    except sqlite3.Error as error:
        connection.close()
        raise translate(error, path) from error
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_STATEMENT)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    return connection


def drop_everything(connection: sqlite3.Connection) -> None:
    """Views first, then virtual tables with what belongs to them, then the other tables with indexes and triggers."""
    listing = (
        "SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'table') AND substr(name, 1, 7) <> 'sqlite_' "
        "ORDER BY type = 'table', sql NOT LIKE 'CREATE VIRTUAL%'"
    )
    while (found := connection.execute(listing).fetchone()) is not None:
        kind, name = found
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind} "{quoted}"')
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        connection.execute(f'DELETE FROM "{name}"')
