"""The implementations of the runtime seam, one after the other, for every contract test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorings.runtimes.base import ContainerRuntime, OnClose
from tests.contract.runtime_labs import DockerLab, Events, FakeLab, Lab, ProcessLab


@pytest.fixture(params=["fake", "process", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """Where containers run."""
    if request.param == "docker":
        return DockerLab(tmp_path, request.getfixturevalue("engine"))
    return FakeLab(tmp_path) if request.param == "fake" else ProcessLab(tmp_path)


@pytest.fixture
async def lab(place: Lab) -> AsyncIterator[Lab]:
    yield place
    await place.clean_up()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def runtime(lab: Lab, events: Events) -> AsyncIterator[ContainerRuntime]:
    opened = lab.runtime()
    await opened.open(events)
    yield opened
    await opened.close(OnClose.KEEP)
