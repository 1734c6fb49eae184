"""Runs of the same INSERT as one statement: the same effect, fewer calls."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from moorings.store.journal import Statement
from moorings.store.sqlite_writer import merge

REPLACE = "INSERT OR REPLACE INTO t (a, b) VALUES (?, ?)"
UPSERT = "INSERT INTO t (a, b) VALUES ( ?,? ) ON CONFLICT (a) DO UPDATE SET b = excluded.b"
DELETE = "DELETE FROM t WHERE a = ?"
UPDATE = "UPDATE t SET b = b + ? WHERE a = ?"
MIXED = "INSERT OR REPLACE INTO t (a, b) VALUES (?, 7)"

keys, numbers = st.integers(0, 9), st.integers(0, 99)
statements = st.one_of(
    st.tuples(st.sampled_from([REPLACE, UPSERT]), st.tuples(keys, numbers), st.sampled_from([None, 1])),
    st.tuples(st.just(DELETE), st.tuples(keys), st.none()),
    st.tuples(st.just(UPDATE), st.tuples(numbers, keys), st.none()),
    st.tuples(st.just(MIXED), st.tuples(keys), st.none()),
)
runs = st.lists(st.tuples(statements, st.integers(1, 12)), max_size=20)


def outcome(script: list[Statement]) -> list[tuple[int, int]]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)")
    for sql, args, _ in script:
        db.execute(sql, args)
    rows = db.execute("SELECT a, b FROM t ORDER BY a").fetchall()
    db.close()
    return rows


@given(runs)
def test_merged_statements_have_the_effect_of_the_originals(script: list[tuple[Statement, int]]) -> None:
    originals = [statement for statement, times in script for _ in range(times)]
    merged = list(merge(originals))
    assert outcome(merged) == outcome(originals)
    assert len(merged) <= len(originals)


def test_a_thousand_neighbours_become_a_handful() -> None:
    merged = list(merge([(REPLACE, (n, n), None) for n in range(1000)]))
    assert len(merged) < 20
    assert [arg for _, args, _ in merged for arg in args[::2]] == list(range(1000))


def test_statements_that_expect_a_number_of_rows_stay_alone() -> None:
    script: list[Statement] = [(REPLACE, (n, n), 1) for n in range(10)]
    assert list(merge(script)) == script


def test_wide_rows_stay_within_the_limit_of_parameters() -> None:
    sql = f"INSERT INTO wide VALUES ({', '.join('?' * 200)})"
    merged = list(merge([(sql, (n,) * 200, None) for n in range(300)]))
    assert all(len(args) <= 32_766 for _, args, _ in merged)
    assert sum(len(args) for _, args, _ in merged) == 60_000


def test_rows_of_different_widths_are_not_joined() -> None:
    script: list[Statement] = [(REPLACE, (1, 1), None), (REPLACE, (1,), None), (REPLACE, (1, 1), None)]
    assert list(merge(script)) == script
