"""Copies of a data folder: they have the identities and tokens of the original, and none of its containers."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from moorings.runtimes.base import OnClose
from moorings.runtimes.fake import Waits
from tests.contract.runtime_labs import DockerLab, Events, ProcessLab
from tools.engine import Engine

AnyLab = DockerLab | ProcessLab
MakeLab = Callable[[Path], AnyLab]


@pytest.fixture(params=["process", "docker"])
def make_lab(request: pytest.FixtureRequest) -> MakeLab:
    """A place for containers whose data is in a folder."""
    if request.param == "process":
        return ProcessLab
    engine = request.getfixturevalue("engine")
    return lambda folder: DockerLab(folder, engine)


@pytest.fixture
async def original(make_lab: MakeLab, tmp_path: Path) -> AsyncIterator[AnyLab]:
    folder = tmp_path / "original"
    folder.mkdir()
    lab = make_lab(folder)
    yield lab
    await lab.clean_up()


def copied(folder: Path, to: Path) -> None:
    """Sockets and all."""
    subprocess.run(["cp", "-a", folder, to], check=True)


async def tokens_found(lab: AnyLab) -> list[str]:
    """The containers that the platform finds running there; it leaves them running."""
    runtime = lab.runtime()
    found = await runtime.open(Events())
    await runtime.close(OnClose.KEEP)
    return [each.token for each in found.running]


async def test_a_copy_of_a_data_folder_neither_adopts_nor_kills_what_runs_in_the_original(
    original: AnyLab, make_lab: MakeLab, tmp_path: Path
) -> None:
    runtime, events = original.runtime(), Events()
    await runtime.open(events)
    started = await runtime.start(original.spec(Waits(60)))
    copied(original.folder, tmp_path / "copy")
    copy = make_lab(tmp_path / "copy").runtime()
    found = await copy.open(Events())
    try:
        assert found.running == []
        own = await copy.start(original.spec(Waits(60)))
    finally:
        await copy.close(OnClose.KILL)
    assert own.token != started.token
    await runtime.close(OnClose.KEEP)
    assert await tokens_found(original) == [started.token]
    assert events.exits(started.token) == []


async def test_a_data_folder_that_was_moved_or_restored_in_its_place_finds_its_containers(
    engine: Engine, tmp_path: Path
) -> None:
    lab = DockerLab(tmp_path / "data", engine)
    runtime = lab.runtime()
    await runtime.open(Events())
    started = await runtime.start(lab.spec(Waits(60)))
    await runtime.close(OnClose.KEEP)
    copied(tmp_path / "data", tmp_path / "backup")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert await tokens_found(DockerLab(tmp_path / "moved", engine)) == [started.token]
    (tmp_path / "backup").rename(tmp_path / "data")
    assert await tokens_found(lab) == [started.token]
    await lab.clean_up()
