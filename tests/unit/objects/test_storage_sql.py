"""An object's private database: synchronous, one transaction a turn, durable behind the same gate."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moorings.errors import SqlError, StoreError
from moorings.objects.sql_guard import statements
from moorings.store import Commit, Synchronous
from tests.unit.objects.storing import Place, place

NUMBERS = "WITH RECURSIVE n(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM n WHERE x < 9999)"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as opened:
        yield opened


async def test_a_statement_runs_at_the_call_and_is_durable_after_sync(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
    storage.sql.exec("INSERT INTO t VALUES (?, ?), (?, ?)", 1, "one", 2, b"\x00two")
    assert storage.sql.exec("SELECT * FROM t").to_array() == [{"a": 1, "b": "one"}, {"a": 2, "b": b"\x00two"}]
    assert storage.pending() is not None
    await storage.sync()
    assert storage.pending() is None
    storage.close()
    assert storage.sql.exec("SELECT count(*) AS n FROM t").one() == {"n": 2}
    path = here.files.path(bytes([1]) * 32)
    assert path.parent.name == "01"
    assert path.name == "01" * 32 + ".sqlite"


async def test_a_query_alone_writes_nothing_and_holds_no_gate(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    await storage.sync()
    before = here.writes
    for query in (
        "SELECT 1",
        "values (1)",
        "-- comment\n/* another */ select 1",
        "EXPLAIN SELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "PRAGMA table_info(t)",
    ):
        storage.sql.exec(query).to_array()
        assert storage.pending() is None
    assert here.writes == before


async def test_what_one_turn_writes_is_one_transaction(here: Place, tmp_path: Path) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    await storage.sync()
    storage.sql.exec("INSERT INTO t VALUES (1)")
    storage.sql.exec("INSERT INTO t VALUES (2)")
    outside = sqlite3.connect(here.files.path(bytes([1]) * 32))
    assert outside.execute("SELECT count(*) FROM t").fetchone() == (0,)
    await storage.sync()
    assert outside.execute("SELECT count(*) FROM t").fetchone() == (2,)
    outside.close()


async def test_many_turns_share_syncs_and_all_their_commits_resolve_in_order(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    resolved: list[int] = []

    def note(n: int, commit: Commit) -> None:
        resolved.append(n)

    for n in range(50):
        storage.sql.exec("INSERT INTO t VALUES (?)", n)
        gate = storage.sql.pending()
        assert gate is not None
        gate.add_done_callback(partial(note, n))
        await asyncio.sleep(0)
    await storage.sync()
    assert resolved == list(range(50))


async def test_several_statements_in_one_call_run_in_order_and_parameters_are_the_lasts(here: Place) -> None:
    storage = here.storage()
    cursor = storage.sql.exec(
        """
        CREATE TABLE t (a, b);  -- the first; not the last
        CREATE TRIGGER twice AFTER INSERT ON t WHEN new.b = ';' BEGIN
            UPDATE t SET b = ';;' WHERE a = new.a;
        END;
        INSERT INTO t VALUES (1, ';');
        SELECT * FROM t WHERE a = ?; -- the end
        """,
        1,
    )
    assert cursor.to_array() == [{"a": 1, "b": ";;"}]


def test_splitting_keeps_what_semicolons_are_inside_of() -> None:
    assert statements("SELECT ';'; SELECT 2") == ["SELECT ';';", " SELECT 2"]
    assert statements("SELECT 1; -- ; \n ; /* ; */") == ["SELECT 1;"]
    assert statements(" ;; \n") == []
    assert statements("'unfinished; SELECT 1") == ["'unfinished; SELECT 1"]


async def test_cursors_give_rows_as_dicts_tuples_and_one(here: Place) -> None:
    storage = here.storage()
    sql = storage.sql
    sql.exec("CREATE TABLE t (a, b)")
    written = sql.exec("INSERT INTO t VALUES (1, 'x'), (2, 'y') RETURNING a")
    assert written.rows_written == 2
    assert written.to_array() == [{"a": 1}, {"a": 2}]
    cursor = sql.exec("SELECT a, b FROM t")
    assert cursor.column_names == ["a", "b"]
    assert next(cursor) == {"a": 1, "b": "x"}
    assert list(cursor.raw()) == [(2, "y")]
    assert cursor.to_array() == []
    assert cursor.rows_read == 2
    assert cursor.rows_written == 0
    assert sql.exec("SELECT a FROM t WHERE a = ?", 2).one() == {"a": 2}
    assert sql.exec("SELECT NULL AS n, 1.5 AS f, ? AS b", True).one() == {"n": None, "f": 1.5, "b": 1}
    with pytest.raises(SqlError, match="the query gave none"):
        sql.exec("SELECT a FROM t WHERE a = 3").one()
    with pytest.raises(SqlError, match="the query gave more"):
        sql.exec("SELECT a FROM t").one()
    assert sql.exec("CREATE TABLE u (x)").to_array() == []


async def test_rows_past_the_first_are_read_as_they_are_asked_for_across_turns_and_writes(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    storage.sql.exec(f"INSERT INTO t {NUMBERS} SELECT x FROM n")
    cursor = storage.sql.exec("SELECT x FROM t")
    assert next(cursor) == {"x": 0}
    await storage.sync()
    storage.sql.exec("CREATE TABLE other (x)")
    await storage.sync()
    assert sum(row["x"] for row in cursor) == sum(range(10000))
    assert cursor.rows_read == 10000


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_a_cursor_whose_database_went_away_says_so(here: Place, end: str) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    storage.sql.exec(f"INSERT INTO t {NUMBERS} SELECT x FROM n WHERE x < 1000")
    cursor = storage.sql.exec("SELECT x FROM t")
    if end == "close":
        storage.close()
    else:
        storage.delete_all()
    with pytest.raises(SqlError, match="the rest of the rows cannot be read"):
        cursor.to_array()


async def test_an_error_of_one_statement_leaves_the_turn_to_go_on(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x INTEGER PRIMARY KEY, y NOT NULL)")
    storage.sql.exec("INSERT INTO t VALUES (1, 1)")
    with pytest.raises(SqlError, match="UNIQUE constraint failed"):
        storage.sql.exec("INSERT INTO t VALUES (2, 2), (1, 1)")
    with pytest.raises(SqlError, match="incomplete input"):
        storage.sql.exec("INSERT INTO")
    with pytest.raises(SqlError, match="no such table: nowhere"):
        storage.sql.exec("SELECT * FROM nowhere")
    with pytest.raises(SqlError, match="binding"):
        storage.sql.exec("SELECT ?")
    with pytest.raises(SqlError, match="no statement"):
        storage.sql.exec(" -- nothing")
    await storage.sync()
    storage.close()
    assert storage.sql.exec("SELECT x FROM t").to_array() == [{"x": 1}]
    assert here.failures == []


@pytest.mark.parametrize("value", [object(), [1], datetime(2024, 1, 1), bytearray(b"x")], ids=type)
async def test_parameters_that_no_column_holds_are_refused_by_position(here: Place, value: Any) -> None:
    with pytest.raises(TypeError, match=f"parameter 2 of sql.exec: '{type(value).__name__}' values"):
        here.storage().sql.exec("SELECT ?, ?", 1, value)


async def test_an_int_past_64_bits_is_refused(here: Place) -> None:
    assert here.storage().sql.exec("SELECT ? AS n", -(2**63)).one() == {"n": -(2**63)}
    with pytest.raises(ValueError, match="64 bits"):
        here.storage(2).sql.exec("SELECT ?", 2**63)


@pytest.mark.parametrize(
    ("statement", "hint"),
    [
        ("BEGIN", "every turn of the event loop is a transaction"),
        ("begin immediate", "every turn"),
        ("/* x */ COMMIT", "every turn"),
        ("END", "every turn"),
        ("; rollback", "every turn"),
        ("SAVEPOINT a", "every turn"),
        ("RELEASE a", "every turn"),
        ("ATTACH 'other.sqlite' AS other", "own database only"),
        ("DETACH main", "own database only"),
        ("VACUUM", "looks after the file"),
        ("VACUUM INTO 'copy.sqlite'", "looks after the file"),
        ("PRAGMA journal_mode=DELETE", "PRAGMA journal_mode is the platform's"),
        ("PRAGMA main . synchronous = OFF", "PRAGMA synchronous is the platform's"),
        ("PRAGMA foreign_keys=OFF", "PRAGMA foreign_keys is the platform's"),
        ("PRAGMA writable_schema=ON", "platform's"),
        ("PRAGMA", "platform's"),
        ("SELECT load_extension('x.so')", "load_extension"),
        ("SELECT * FROM pragma_journal_mode", "platform's|no such table"),
        ("CREATE TABLE _moorings_x (a)", "kept for the platform"),
        ("CREATE TABLE _MOORINGS_x (a)", "kept for the platform"),
        ("CREATE VIEW _moorings_v AS SELECT 1", "kept for the platform"),
        ("CREATE INDEX _moorings_i ON t (x)", "kept for the platform"),
        ("SELECT * FROM _moorings_hidden", "kept for the platform"),
        ("INSERT INTO _moorings_hidden VALUES (1)", "kept for the platform"),
        ("WITH h AS (SELECT * FROM _moorings_hidden) SELECT * FROM h", "kept for the platform"),
        ("DROP TABLE _moorings_hidden", "kept for the platform"),
        ("UPDATE sqlite_schema SET sql = ''", "may not be modified"),
        ("CREATE VIRTUAL TABLE v USING csv(filename='/etc/passwd')", "csv"),
    ],
)
async def test_what_reaches_beyond_the_object_is_refused_with_a_hint(here: Place, statement: str, hint: str) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    path = here.files.path(bytes([1]) * 32)
    await storage.sync()
    hidden = sqlite3.connect(path)
    hidden.execute("CREATE TABLE _moorings_hidden (x)")
    hidden.commit()
    hidden.close()
    for _ in range(2):  # the second time from a cache of prepared statements, if there were one
        with pytest.raises(SqlError, match=hint):
            storage.sql.exec(statement)
    await storage.sync()
    assert here.failures == []


@pytest.mark.parametrize(
    "statement", ["EXPLAIN COMMIT", "CREATE TRIGGER x AFTER INSERT ON t BEGIN COMMIT; END", "SELECT 1; COMMIT"]
)
async def test_a_disguised_end_of_the_transaction_is_refused(here: Place, statement: str) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    with pytest.raises(SqlError):
        storage.sql.exec(statement)
    storage.sql.exec("INSERT INTO t VALUES (1)")
    await storage.sync()
    assert here.failures == []


async def test_full_text_search_and_json_are_there(here: Place) -> None:
    sql = here.storage().sql
    sql.exec("CREATE VIRTUAL TABLE notes USING fts5(body)")
    sql.exec("INSERT INTO notes VALUES ('mooring lines'), ('anchors')")
    assert sql.exec("SELECT body FROM notes WHERE notes MATCH 'lines'").one() == {"body": "mooring lines"}
    assert sql.exec("""SELECT json_extract('{"a": [1, 2]}', '$.a[1]') AS x""").one() == {"x": 2}
    assert sql.database_size > 0


async def test_foreign_keys_are_enforced_also_after_everything_was_deleted(here: Place) -> None:
    storage = here.storage()
    for _ in range(2):
        storage.sql.exec("CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES parent (id))")
        with pytest.raises(SqlError, match="FOREIGN KEY"):
            storage.sql.exec("INSERT INTO child VALUES (1)")
        storage.sql.exec("INSERT INTO parent VALUES (1)")
        storage.sql.exec("INSERT INTO child VALUES (1)")
        await storage.sync()
        storage.delete_all()
        await storage.sync()


async def test_a_deferred_violation_at_the_end_of_the_turn_fails_the_object(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (p REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    await storage.sync()
    storage.sql.exec("INSERT INTO child VALUES (1)")
    gate = storage.pending()
    assert gate is not None
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        await gate
    assert len(here.failures) == 1
    with pytest.raises(StoreError, match="an earlier write"):
        storage.sql.exec("INSERT INTO parent VALUES (1)")
    gate = storage.pending()
    assert gate is not None
    with pytest.raises(StoreError):
        await gate
    storage.reset()
    assert storage.pending() is None
    storage.sql.exec("INSERT INTO parent VALUES (1)")
    storage.sql.exec("INSERT INTO child VALUES (1)")
    await storage.sync()
    assert storage.sql.exec("SELECT count(*) AS n FROM child").one() == {"n": 1}


async def test_a_database_that_is_full_fails_what_it_must_and_nothing_before(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    storage.sql.exec("INSERT INTO t VALUES (1)")
    await storage.sync()
    file = storage.sql._file
    assert file is not None
    file._own("PRAGMA max_page_count=10")
    storage.sql.exec("INSERT INTO t VALUES (2)")
    with pytest.raises((SqlError, StoreError), match="full"):
        storage.sql.exec("INSERT INTO t VALUES (zeroblob(1000000))")
    if here.failures:
        storage.reset()
    else:
        await storage.sync()
    storage.close()
    rows = storage.sql.exec("SELECT x FROM t").to_array()
    assert rows == ([{"x": 1}] if here.failures else [{"x": 1}, {"x": 2}])


async def test_a_runaway_statement_is_stopped(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorings.objects.sql_guard.MOST_STEPS", 5_000_000)
    storage = here.storage()
    endless = "WITH RECURSIVE n(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(SqlError, match="stopped: the statement took over"):
        storage.sql.exec(endless)
    assert storage.sql.exec("SELECT 1 AS one").one() == {"one": 1}


async def test_a_call_that_takes_over_a_second_by_the_clock_is_stopped(tmp_path: Path) -> None:
    ticks = itertools.count()
    async with place(tmp_path) as here:
        here.files.monotonic = lambda: float(next(ticks))
        query = f"{NUMBERS} SELECT count(*) FROM n"
        with pytest.raises(SqlError, match="took over 1 second"):
            here.storage().sql.exec(query)
        here.files.monotonic = lambda: 0.0
        assert here.storage(2).sql.exec(query).to_array() == [{"count(*)": 10_000}]


async def test_a_value_over_two_mebibytes_is_refused(here: Place) -> None:
    with pytest.raises(SqlError, match="too big"):
        here.storage().sql.exec("SELECT zeroblob(3000000)")


async def test_delete_all_empties_the_database_and_closing_removes_the_file(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec(
        """
        CREATE TABLE "odd ""name" (x INTEGER PRIMARY KEY AUTOINCREMENT);
        CREATE VIEW v AS SELECT * FROM "odd ""name";
        CREATE VIRTUAL TABLE f USING fts5(body);
        CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (p REFERENCES parent (id));
        INSERT INTO parent VALUES (1);
        INSERT INTO child VALUES (1);
        INSERT INTO "odd ""name" DEFAULT VALUES;
        CREATE TRIGGER tr AFTER INSERT ON parent BEGIN SELECT 1; END;
        """
    )
    await storage.sync()
    storage.sql.exec("INSERT INTO parent VALUES (2)")
    storage.delete_all()
    assert storage.sql.exec("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").to_array() == []
    storage.sql.exec("CREATE TABLE fresh (x)")
    await storage.sync()
    storage.close()
    assert storage.sql.exec("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").one() == {"name": "fresh"}
    storage.delete_all()
    storage.close()
    await here.files.close()
    assert [name for _, _, names in os.walk(here.files.folder) for name in names] == []


async def test_delete_all_of_an_object_without_a_database_makes_none(here: Place) -> None:
    here.storage().delete_all()
    assert not here.files.folder.exists()


async def test_closing_in_the_turn_of_a_write_keeps_the_write_and_resolves_its_commit(here: Place) -> None:
    storage = here.storage()
    for n in range(20):
        storage.sql.exec("CREATE TABLE IF NOT EXISTS t (x)")
        storage.sql.exec("INSERT INTO t VALUES (?)", n)
        gate = storage.pending()
        assert gate is not None
        storage.close()
        if n % 3 == 0:
            await gate
    assert storage.sql.exec("SELECT count(*) AS n FROM t").one() == {"n": 20}


async def test_a_damaged_file_is_a_store_error_that_names_it_and_is_left_alone(here: Place) -> None:
    path = here.files.path(bytes([1]) * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match=f"{path} is damaged"):
        here.storage().sql.exec("SELECT 1")
    assert path.read_bytes() == b"no database " * 1000


async def test_the_log_is_emptied_while_the_file_stays_open(here: Place) -> None:
    storage = here.storage()
    storage.sql.exec("CREATE TABLE t (x)")
    for _ in range(60):
        storage.sql.exec("INSERT INTO t VALUES (zeroblob(500000))")
        await storage.sync()
    log = here.files.path(bytes([1]) * 32).with_suffix(".sqlite-wal")
    assert log.stat().st_size < 16 * 2**20  # of 30 MB that have gone through it


@pytest.mark.parametrize(("setting", "number"), [(Synchronous.FULL, 1), (Synchronous.OFF, 0)])
async def test_sqlite_itself_never_syncs_a_commit_on_the_loops_thread(
    tmp_path: Path, setting: Synchronous, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        assert threading.current_thread() is not threading.main_thread()
        real(descriptor)
        synced.append(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    async with place(tmp_path, synchronous=setting) as opened:
        storage = opened.storage()
        storage.sql.exec("CREATE TABLE t (x)")
        await storage.sync()
        file = storage.sql._file
        assert file is not None
        file.guard.off = True
        assert file.connection.execute("PRAGMA synchronous").fetchone() == (number,)
        file.guard.off = False
    assert bool(synced) is (setting is Synchronous.FULL)


async def test_databases_of_different_objects_are_different(here: Place) -> None:
    here.storage(1).sql.exec("CREATE TABLE t (x)")
    with pytest.raises(SqlError, match="no such table"):
        here.storage(2).sql.exec("SELECT * FROM t")
