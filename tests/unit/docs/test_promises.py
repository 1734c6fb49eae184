"""The page of promises names tests that exist, and every promise has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCS, ROOT, prose, rows

PAGE = DOCS / "explanation" / "promises.md"
_TEST = re.compile(r"\[`(\w+)`\]\(([^)]+)\)")

PROMISES = [row for row in rows(PAGE) if row != ["promise", "test"]]


def named(cell: str) -> list[tuple[str, Path]]:
    """The tests that a cell names, and the files they are said to be in."""
    return [(name, (PAGE.parent / target).resolve()) for name, target in _TEST.findall(cell)]


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[0])
def test_a_promise_names_tests_that_exist_in_their_file(row: list[str]) -> None:
    assert len(row) == 2, "a row has a promise and its tests"
    tests = named(row[1])
    assert tests, "a promise without a test"
    assert not _TEST.sub("", row[1]).replace("<br>", ""), "the second column has links to tests and nothing else"
    for name, file in tests:
        assert file.is_relative_to(ROOT)
        assert file.name.startswith("test_"), f"pytest does not collect {file}"
        assert re.search(rf"^((async )?def {name}\(|{name} = )", file.read_text(), re.MULTILINE), (
            f"{file} has no {name}"
        )


def test_every_theme_has_promises() -> None:
    for section in prose(PAGE).split("\n## ")[1:]:
        assert "\n|---|---|\n| " in section, f"no promise under {section.splitlines()[0]}"


def test_the_page_of_the_process_runtime_says_that_it_isolates_nothing() -> None:
    assert "isolates nothing" in prose(DOCS / "explanation" / "process-runtime.md")
