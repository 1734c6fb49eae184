"""The admin socket of a platform that runs: who finds it, who may open it, and what becomes of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import moorings
from tests.support.platform import Platform
from tests.support.raw import get

WORKER = """
from moorings import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(request.url.path)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return path


@pytest.fixture
def platform(worker: Path, tmp_path: Path) -> Iterator[Platform]:
    with Platform(worker, tmp_path / "run") as platform:
        yield platform


def test_the_socket_is_its_owners_alone_and_goes_with_the_platform(worker: Path, tmp_path: Path) -> None:
    with Platform(worker, tmp_path / "run") as platform:
        path = platform.data / "admin.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    refused = moorings("ps", "--data-dir", str(platform.data))
    assert refused.returncode == 1
    assert f"no platform runs on the data folder {platform.data}" in refused.stderr


def test_the_socket_of_a_platform_that_was_killed_is_replaced(worker: Path, tmp_path: Path) -> None:
    first = Platform(worker, tmp_path / "run")
    first.crash()
    assert moorings("ps", "--data-dir", str(first.data)).returncode == 1
    with Platform(worker, tmp_path / "run") as second:
        assert json.loads(moorings("ps", "--json", "--data-dir", str(second.data)).stdout) == []


def test_a_data_folder_with_a_long_path_can_be_reached(worker: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / ("path" * 20)
    with Platform(worker, folder) as platform:
        assert moorings("ps", "--data-dir", str(platform.data)).returncode == 0


async def test_the_admin_api_is_not_on_the_public_port(platform: Platform) -> None:
    for path in ("/about", "/containers/list"):
        assert (await get(platform.address, path)).body.decode() == path


def test_the_platform_is_found_from_the_folder_of_its_worker(worker: Path, tmp_path: Path) -> None:
    (tmp_path / "moorings.toml").write_text('[moorings.serve]\ndata_dir = "run/data"\n')
    with Platform(worker, tmp_path / "run"):
        assert moorings("ps", cwd=tmp_path).returncode == 0
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        assert moorings("ps", "--file", str(worker), cwd=elsewhere).returncode == 0
        lost = moorings("ps", cwd=elsewhere)
        assert lost.returncode == 1
        assert "there is no worker.py" in lost.stderr
        assert "moorings ps --file" in lost.stderr
