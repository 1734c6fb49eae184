"""``ctx.storage.sql``: a private SQLite database for each object, used synchronously (Cloudflare: SqlStorage).

A statement runs at the call, and reads see what was written before. What an object writes in one turn of the event
loop is one transaction; the output gate holds what the object says until it is on the disk. The keys of the storage
are another file: each of the two is atomic, both together are not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self
from weakref import WeakSet

from moorings.errors import SqlError, StoreError
from moorings.objects.sql_file import SqlFile
from moorings.objects.sql_files import SqlFiles
from moorings.objects.sql_guard import (
    Parameter,
    check_parameters,
    check_statement,
    is_query,
    statements,
)
from moorings.store import Commit
from moorings.store.sqlite_errors import FOREIGN_ERRORS, is_damage, translate

CHUNK: Final = 256
"""Rows that are fetched at a time."""


class Sql:
    """The database of one object; the file is opened at the first statement."""

    __slots__ = ("_cursors", "_file", "_files", "_last", "_object", "_on_failure", "_on_write")

    def __init__(
        self,
        files: SqlFiles,
        object_id: bytes,
        *,
        on_write: Callable[[], None],
        on_failure: Callable[[StoreError], None],
    ) -> None:
        self._files = files
        self._object = object_id
        self._on_write = on_write
        self._on_failure = on_failure
        self._file: SqlFile | None = None
        self._cursors: WeakSet[Cursor] = WeakSet()
        self._last: Commit | None = None

    def exec(self, query: str, *args: Parameter) -> Cursor:
        """Run one or more statements; ``args`` are for the ``?`` of the last one, whose rows the cursor gives.

        Raises SqlError for SQL that is wrong, refused, or takes over a second or 200 million steps; TypeError
        and ValueError for parameters; StoreError where the file cannot be read or written.
        """
        check_parameters(args)
        parts = statements(query)
        if not parts:
            raise SqlError("sql.exec was given no statement")
        for part in parts:
            check_statement(part)
        file = self._opened()
        file.guard.start()
        for part in parts[:-1]:
            self._run(file, part, ())
        return self._run(file, parts[-1], args)

    @property
    def database_size(self) -> int:
        """Bytes of the database, without its log (Cloudflare: databaseSize)."""
        [(pages, size)] = self.exec("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").raw()
        return int(pages * size)

    def _opened(self) -> SqlFile:
        if self._file is None:
            self._file = self._files.open(self._object)
            self._file.on_failure = self._on_failure
        return self._file

    def _run(self, file: SqlFile, statement: str, args: Sequence[Parameter]) -> Cursor:
        query = is_query(statement)
        if not query:
            self._on_write()
            self._last = file.begin()
        before = file.connection.total_changes
        try:
            cursor = Cursor(self, file.connection.execute(statement, args), complete=not query)
        except FOREIGN_ERRORS as error:
            raise _explained(file, error) from error
        cursor.rows_written = file.connection.total_changes - before
        if cursor.unfinished:
            self._cursors.add(cursor)
        return cursor

    def fetch(self, rows: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        """The next rows of a query. For Cursor. Raises SqlError."""
        file = self._opened()
        file.guard.start()
        try:
            return rows.fetchmany(CHUNK)
        except FOREIGN_ERRORS as error:
            raise _explained(file, error) from error

    # --- durability ---------------------------------------------------------------------------------------------

    @property
    def failed(self) -> StoreError | None:
        """Why a turn was not stored; ``reset`` goes back to what is."""
        return None if self._file is None else self._file.failed

    def pending(self) -> Commit | None:
        """The commit that covers every write so far; None where all are durable. After a failure: the failed one."""
        last = self._last
        return None if last is None or (last.done() and last.error is None) else last

    def delete(self) -> None:
        """Delete everything in the database, with this turn's commit; the empty file goes when it is closed."""
        if self._file is None and not self._files.path(self._object).exists():
            return
        file = self._opened()
        self._abandon_cursors("the database was deleted")
        self._last = file.wipe()

    def close(self) -> None:
        """Close the file, once what was written is durable; it is opened again at need."""
        if self._file is not None:
            self._abandon_cursors("the object was put away")
            self._file.close()
            self._file = None

    def _abandon_cursors(self, why: str) -> None:
        for cursor in list(self._cursors):
            cursor.abandon(why)

    def reset(self) -> None:
        """Go back to what is stored, where a write was not."""
        if self.failed is not None:
            self.close()
            self._last = None


class Cursor:
    """The rows of a statement, each a dict by column name (of columns with the same name, the last).

    A query's rows are read as they are asked for, some at a time; the cursor can be gone through once.
    """

    __slots__ = ("__weakref__", "_ahead", "_rows", "_sql", "_why", "column_names", "rows_read", "rows_written")

    def __init__(self, sql: Sql, rows: sqlite3.Cursor, *, complete: bool) -> None:
        self._sql = sql
        self._rows: sqlite3.Cursor | None = rows
        self._why: str | None = None
        self.column_names: list[str] = [column[0] for column in rows.description or ()]
        self.rows_read = 0
        """Rows that were read from the cursor so far."""
        self.rows_written = 0
        """Rows that the statement inserted, updated or deleted."""
        first = rows.fetchall() if complete else rows.fetchmany(CHUNK)
        if complete or len(first) < CHUNK:
            self._rows = None
        self._ahead: Iterator[tuple[Any, ...]] = iter(first)

    def abandon(self, why: str) -> None:
        """The rows not yet fetched are out of reach from now on."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None
            self._why = why

    @property
    def unfinished(self) -> bool:
        """Whether rows are left in the database."""
        return self._rows is not None

    def _next(self) -> tuple[Any, ...]:
        row = next(self._ahead, None)
        if row is None and self._rows is not None:
            chunk = self._sql.fetch(self._rows)
            if len(chunk) < CHUNK:
                self._rows = None
            self._ahead = iter(chunk)
            row = next(self._ahead, None)
        if row is None:
            if self._why is not None:
                raise SqlError(f"the rest of the rows cannot be read: {self._why}")
            raise StopIteration
        self.rows_read += 1
        return row

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        return dict(zip(self.column_names, self._next(), strict=True))

    def raw(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples, in the order of ``column_names``."""
        while True:
            try:
                row = self._next()
            except StopIteration:
                return
            yield row

    def to_array(self) -> list[dict[str, Any]]:
        """All rows that are left."""
        return list(self)

    def one(self) -> dict[str, Any]:
        """The only row. Raises SqlError where there is none, or more than one."""
        rows = [row for row, _ in zip(self, range(2), strict=False)]
        if len(rows) != 1:
            raise SqlError(f"one() is for exactly one row; the query gave {'none' if not rows else 'more'}")
        return rows[0]


def _explained(file: SqlFile, error: BaseException) -> SqlError | StoreError:
    """The error to raise for what SQLite raised; a turn that it rolled back fails the object."""
    file.check()
    if is_damage(error):
        return translate(error, file.path)
    if file.guard.refusal is not None:
        return SqlError(f"refused: {file.guard.refusal}")
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
        return SqlError(f"stopped: the statement took over {file.guard.exceeded}; is an index missing?")
    return SqlError(str(error))
