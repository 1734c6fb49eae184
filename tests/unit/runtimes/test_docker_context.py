"""What belongs to an image's build context, and when its digest changes."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from tarfile import open as open_tar

import pytest

from moorings.runtimes.docker.context import digest, entries, write_tar
from moorings.runtimes.docker.ignoring import Ignore


@pytest.mark.parametrize(
    ("lines", "path", "ignored"),
    [
        (["*.log"], "a.log", True),
        (["*.log"], "sub/a.log", False),
        (["**/*.log"], "a.log", True),
        (["**/*.log"], "sub/deep/a.log", True),
        (["sub"], "sub/deep/file", True),
        (["sub/"], "sub/file", True),
        (["/sub"], "sub/file", True),
        (["./sub/../sub"], "sub", True),
        (["sub"], "subway", False),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[a-c].txt"], "b.txt", True),
        (["[^a-c].txt"], "b.txt", False),
        (["*", "!keep"], "keep", False),
        (["*", "!keep"], "other", True),
        (["*", "!keep/**", "keep/not"], "keep/not", True),
        (["*", "!keep/**", "keep/not"], "keep/this", False),
        (["!keep", "*"], "keep", True),
        (["# *.log", "", "  "], "a.log", False),
        (["sub/*/file"], "sub/x/file", True),
        (["sub/*/file"], "sub/x/y/file", False),
        (["sub/**/file"], "sub/file", True),
        (["a\\*b"], "a*b", True),
        (["a\\*b"], "axb", False),
    ],
)
def test_a_dockerignore_matches_as_docker_does(lines: list[str], path: str, ignored: bool) -> None:
    assert Ignore(lines).ignores(path) is ignored


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\["):
        Ignore(["[ab"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "app.py").write_text("print()\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").write_text("1\n")
    return tmp_path


def paths(folder: Path) -> list[str]:
    return sorted(entry.path for entry in entries(folder))


def test_the_context_has_what_is_not_ignored_and_the_dockerfile_in_any_case(folder: Path) -> None:
    (folder / ".moorings").mkdir()
    (folder / ".moorings" / "db").write_text("x")
    (folder / ".dockerignore").write_text("Dockerfile\ndata\n.dockerignore\n")
    assert paths(folder) == [".dockerignore", "Dockerfile", "app.py"]


def test_the_dockerfiles_own_dockerignore_counts_instead_of_the_folders(folder: Path) -> None:
    (folder / ".dockerignore").write_text("data\n")
    (folder / "Dockerfile.dockerignore").write_text("*.py\n*ignore\n")
    assert paths(folder) == [".dockerignore", "Dockerfile", "data", "data/rows"]


def test_a_file_in_an_ignored_folder_can_be_kept(folder: Path) -> None:
    (folder / ".dockerignore").write_text("data\n!data/rows\n")
    assert "data/rows" in paths(folder)


def test_the_digest_is_that_of_the_content(folder: Path) -> None:
    before = digest(folder, {})
    os.utime(folder / "app.py", (1, 1))
    assert digest(folder, {}) == before
    assert digest(folder, {"VERSION": "2"}) != before
    (folder / "app.py").write_text("print(2)\n")
    changed = digest(folder, {})
    assert changed != before
    (folder / "app.py").chmod(0o755)
    executable = digest(folder, {})
    assert executable != changed
    (folder / "link").symlink_to("app.py")
    assert digest(folder, {}) != executable


def test_what_is_ignored_does_not_change_the_digest(folder: Path) -> None:
    (folder / ".dockerignore").write_text("data\n")
    before = digest(folder, {})
    (folder / "data" / "rows").write_text("2\n")
    assert digest(folder, {}) == before


def test_the_tar_file_is_the_same_for_the_same_content(folder: Path) -> None:
    def tar() -> bytes:
        out = BytesIO()
        write_tar(folder, out)
        return out.getvalue()

    (folder / "link").symlink_to("app.py")
    before = tar()
    os.utime(folder / "app.py", (1, 1))
    assert tar() == before
    with open_tar(fileobj=BytesIO(before)) as read:
        assert sorted(read.getnames()) == ["Dockerfile", "app.py", "data", "data/rows", "link"]
        assert read.getmember("link").linkname == "app.py"
