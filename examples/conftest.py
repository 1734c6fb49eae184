"""Runs the example of a test's folder as its reader would: ``moorings dev worker.py``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import Mode, Platform
from tools.engine import Engine


@pytest.fixture(params=["process", "docker"])
def where(request: pytest.FixtureRequest) -> Engine | None:
    """Where containers run: None for local processes."""
    return request.getfixturevalue("engine") if request.param == "docker" else None


@pytest.fixture
def platform(request: pytest.FixtureRequest, tmp_path: Path, where: Engine | None) -> Iterator[Platform]:
    """The example in the test's folder, served, on each runtime."""
    worker = request.path.with_name("worker.py")
    with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=where) as served:
        yield served


class Variant:
    """A copy of an example that a test changes."""

    def __init__(self, example: Path, folder: Path, where: Engine | None) -> None:
        self._where = where
        self._served = folder / "platform"
        self.folder = folder / "copy"
        shutil.copytree(example, self.folder, ignore=shutil.ignore_patterns("__pycache__", ".moorings"))

    def replace(self, old: str, new: str, *, file: str = "worker.py") -> None:
        """Change one thing in a file of the copy."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is in {file} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def serve(self) -> Platform:
        """Run it. A context manager."""
        return Platform(self.folder / "worker.py", self._served, mode=Mode.DEV, engine=self._where)


@pytest.fixture
def variant(request: pytest.FixtureRequest, tmp_path: Path, where: Engine | None) -> Variant:
    """A copy of the example in the test's folder, to be changed and served."""
    return Variant(request.path.parent, tmp_path, where)
