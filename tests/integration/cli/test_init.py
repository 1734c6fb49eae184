"""``moorings init``: what it writes runs at once, and what was there stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moorings.cli.init import FILES
from tests.support.cli import moorings
from tests.support.platform import Mode, Platform
from tests.support.raw import get
from tools.engine import Engine


def tree(folder: Path) -> dict[str, str]:
    """The files below a folder, and what is in them."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["process", "docker"])
def where(request: pytest.FixtureRequest) -> Engine | None:
    """Where containers run: None for local processes."""
    return request.getfixturevalue("engine") if request.param == "docker" else None


async def test_what_init_writes_runs_as_it_is(tmp_path: Path, where: Engine | None) -> None:
    assert moorings("init", "hello", cwd=tmp_path).returncode == 0
    with Platform(tmp_path / "hello", tmp_path / "platform", mode=Mode.DEV, engine=where) as platform:
        first, again = [await get(platform.address, "/alice") for _ in range(2)]
        assert re.fullmatch(r"Visit 1 to process [0-9]+\n", first.text())
        assert again.text() == first.text().replace("1", "2", 1)
        assert (await get(platform.address, "/bob")).text().startswith("Visit 1 ")
        assert (await get(platform.address, "/")).status == 404


def test_init_says_the_command_that_comes_next(tmp_path: Path) -> None:
    done = moorings("init", "my app", cwd=tmp_path)
    assert "moorings dev 'my app/worker.py'" in done.stdout
    assert tree(tmp_path / "my app") == FILES


def test_init_without_a_folder_writes_into_the_current_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    done = moorings("init", cwd=tmp_path)
    assert "moorings dev worker.py" in done.stdout
    assert tree(tmp_path) == {**FILES, "README.md": "mine"}


@pytest.mark.parametrize("name", FILES)
def test_init_writes_nothing_where_one_of_its_files_is_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    done = moorings("init", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"Error: {name}: there already, so nothing was written; name another folder\n"
    assert tree(tmp_path) == {name: "mine"}


def test_init_does_not_write_through_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "worker.py").symlink_to(tmp_path / "elsewhere.py")
    assert moorings("init", cwd=tmp_path).returncode == 1
    assert tree(tmp_path) == {}


def test_init_into_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("mine")
    done = moorings("init", "hello", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: hello/worker.py: can't be written")
    assert tree(tmp_path) == {"hello": "mine"}
