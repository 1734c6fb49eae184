"""Where one SQL statement ends and the next begins."""

from __future__ import annotations

import random
import sqlite3

import pytest

from moorings.errors import SqlError
from moorings.objects.sql_guard import first_word, statements


def test_semicolons_inside_of_a_string_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> bool:
        raise AssertionError("all of the text would be read again at each semicolon")

    monkeypatch.setattr(sqlite3, "complete_statement", refuse)
    query = "SELECT '" + ";" * 500_000 + "'"
    assert statements(query) == [query]
    with pytest.raises(SqlError, match="1,048,576 characters"):
        statements(";" * (2**20 + 1))


def test_statements_end_where_sqlite_says_they_do() -> None:
    words = [
        ";",
        ";;",
        "END",
        "CREATE",
        "TEMP",
        "TEMPORARY",
        "TRIGGER",
        "EXPLAIN",
        "a",
        "+",
        "-",
        "/",
        "--",
        "/*",
        "*/",
        "'",
        "`",
        "[",
        "]",
        "end",
        "trigger",
        "create",
    ]
    words += ["\n", '"']
    rng = random.Random(11)
    for _ in range(5_000):
        query = " ".join(rng.choices(words, k=rng.randrange(1, 14))) + rng.choice(["", ";"])
        parts = statements(query)
        for part in parts[:-1]:
            assert sqlite3.complete_statement(part), query
        for part in parts:
            for end in range(1, len(part)):
                if part[end - 1] == ";" and sqlite3.complete_statement(part[:end]):
                    assert not part[:end].strip(" ;\n") or first_word(part[:end]) == "", (query, part)
