"""The data folder and its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moorings.errors import StoreError, StoreLocked
from moorings.store import DataFolder

HOLD = """
import sys, time
from pathlib import Path
from moorings.store import DataFolder
folder = DataFolder.open(Path(sys.argv[1]), started_at=0.0)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_folder_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".moorings"
    with DataFolder.open(path, started_at=0.0) as folder:
        assert folder.path == path
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / ".gitignore").read_text() == "*\n"


def test_an_existing_folder_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    DataFolder.open(tmp_path, started_at=0.0).close()
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_a_second_opener_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked) as refused:
            DataFolder.open(tmp_path, started_at=0.0)
        message = str(refused.value)
        assert str(tmp_path) in message
        assert f"process {holder.pid} (" in message
        assert sys.executable in message
        assert "--data-dir" in message
        holder.kill()
    DataFolder.open(tmp_path, started_at=0.0).close()


def test_the_lock_ends_with_close_and_close_is_idempotent(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path, started_at=1.5, command=["moorings", "dev", "my worker.py"])
    with pytest.raises(StoreLocked, match=r"moorings dev 'my worker\.py'"):
        DataFolder.open(tmp_path, started_at=0.0)
    folder.close()
    folder.close()
    DataFolder.open(tmp_path, started_at=0.0).close()


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        DataFolder.open(tmp_path / "file" / "folder", started_at=0.0)
