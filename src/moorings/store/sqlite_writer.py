"""Batches of units as SQLite transactions, on the writer thread.

Nearly every batch has no failing unit, so the first attempt runs all statements plainly, and runs of the same INSERT
as one statement with many rows: each call into SQLite gives the interpreter lock away, and a busy event loop may keep
it for a while. Where anything fails, the transaction is rolled back and run again with a savepoint for each unit;
where that fails as a whole (disk full, I/O), each unit gets a transaction of its own. A unit's outcome is therefore
its own in every case.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

from moorings.errors import StoreConflict, StoreError
from moorings.store.journal import Statement, Unit, WriteGroup
from moorings.store.sqlite_errors import FOREIGN_ERRORS, translate

_CHECKPOINT_STATEMENTS: Final = 1000
_ROWS_PER_STATEMENT: Final = (256, 32, 4)
_MAX_PARAMETERS: Final = 32_766  # SQLITE_MAX_VARIABLE_NUMBER

_INSERT = re.compile(
    r"\s*(?:INSERT|REPLACE)\b[^?]*\bVALUES\s*(\(\s*\?(?:\s*,\s*\?)*\s*\))([^?]*)", re.IGNORECASE | re.DOTALL
)


@lru_cache(maxsize=512)
def _row_of_insert(sql: str) -> tuple[str, str, str] | None:
    """The parts of an INSERT of one row of parameters: what stands before the row, the row, what follows it."""
    match = _INSERT.fullmatch(sql)
    return None if match is None else (sql[: match.start(1)], match[1], match[2])


@lru_cache(maxsize=512)
def _insert_of_rows(sql: str, rows: int) -> str:
    parts = _row_of_insert(sql)
    assert parts is not None
    return parts[0] + ", ".join([parts[1]] * rows) + parts[2]


def merge(statements: Sequence[Statement]) -> Iterator[Statement]:
    """The same effect in fewer statements: neighbours that are the same INSERT become one with many rows."""
    start, count = 0, len(statements)
    while start < count:
        sql, args, expect = statements[start]
        end = start + 1
        if expect is None and end < count and statements[end][0] == sql and _row_of_insert(sql) is not None:
            width = len(args)
            while end < count:
                following = statements[end]
                if following[0] != sql or following[2] is not None or len(following[1]) != width:
                    break
                end += 1
            for rows in _ROWS_PER_STATEMENT:
                while rows <= end - start and rows * width <= _MAX_PARAMETERS:
                    merged = list(chain.from_iterable(part[1] for part in statements[start : start + rows]))
                    yield _insert_of_rows(sql, rows), merged, None
                    start += rows
        yield from statements[start:end]
        start = end


class SqliteWriter:
    """See ``moorings.store.journal.Writer``. Belongs to the writer thread from its start to its end."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path
        self._since_checkpoint = 0
        self.checkpoint_error: StoreError | None = None
        """Why the last checkpoint failed; the log then grows until one succeeds, and nothing is lost."""

    def apply(self, batch: Sequence[Unit], waiting: Callable[[], None]) -> list[StoreError | None]:
        statements = list(chain.from_iterable([unit.statements for unit in batch]))
        self._since_checkpoint += len(statements)
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except FOREIGN_ERRORS as error:  # nobody can write now: waiting for each unit in turn would take for ever
            return [translate(error, self._path)] * len(batch)
        try:
            for statement in merge(statements):
                self._run(statement)
            waiting()
            self._db.execute("COMMIT")
        except (StoreError, *FOREIGN_ERRORS):
            self._roll_back()
            return self._apply_with_savepoints(batch, waiting)
        return [None] * len(batch)

    def _run(self, statement: Statement) -> None:
        sql, args, expect = statement
        changed: Any = self._db.execute(sql, args).rowcount
        if expect is not None and changed != expect:
            raise StoreConflict(
                f"a write changed {changed} rows where it had to change {expect}: somebody else was first"
            )

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _apply_with_savepoints(self, batch: Sequence[Unit], waiting: Callable[[], None]) -> list[StoreError | None]:
        outcomes: list[StoreError | None] = []
        dead: dict[WriteGroup, StoreError] = {}
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for unit in batch:
                outcome = dead.get(unit.group)
                if outcome is None:
                    outcome = self._apply_in_savepoint(unit)
                    if outcome is not None:
                        dead[unit.group] = outcome
                outcomes.append(outcome)
            waiting()
            self._db.execute("COMMIT")
        except FOREIGN_ERRORS:
            self._roll_back()
            return self._apply_singly(batch, waiting)
        return outcomes

    def _apply_in_savepoint(self, unit: Unit) -> StoreError | None:
        """The unit's failure, where it can be undone alone. Raises where the whole transaction is gone."""
        self._db.execute("SAVEPOINT unit")
        try:
            for statement in unit.statements:
                self._run(statement)
        except (StoreError, *FOREIGN_ERRORS) as error:
            if not self._db.in_transaction:
                raise
            self._db.execute("ROLLBACK TO unit")
            self._db.execute("RELEASE unit")
            return translate(error, self._path)
        self._db.execute("RELEASE unit")
        return None

    def _apply_singly(self, batch: Sequence[Unit], waiting: Callable[[], None]) -> list[StoreError | None]:
        outcomes: list[StoreError | None] = []
        dead: dict[WriteGroup, StoreError] = {}
        for unit in batch:
            outcome = dead.get(unit.group)
            if outcome is None:
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    for statement in unit.statements:
                        self._run(statement)
                    waiting()
                    self._db.execute("COMMIT")
                except (StoreError, *FOREIGN_ERRORS) as error:
                    self._roll_back()
                    dead[unit.group] = outcome = translate(error, self._path)
            outcomes.append(outcome)
        return outcomes

    def rest(self) -> None:
        """Move the log's content into the database file now and then, outside of anybody's commit, without waiting."""
        if self._since_checkpoint < _CHECKPOINT_STATEMENTS:
            return
        self._since_checkpoint = 0
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self.checkpoint_error = None
        except sqlite3.Error as error:
            self.checkpoint_error = translate(error, self._path)
