"""A place for containers on the session's private Engine, and a runtime that is connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorings.runtimes.base import OnClose
from moorings.runtimes.docker.runtime import DockerRuntime
from tests.contract.runtime_labs import DockerLab, Events
from tools.engine import Engine


@pytest.fixture
async def lab(engine: Engine, tmp_path: Path) -> AsyncIterator[DockerLab]:
    made = DockerLab(tmp_path, engine)
    yield made
    await made.clean_up()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def runtime(lab: DockerLab, events: Events) -> AsyncIterator[DockerRuntime]:
    opened = lab.runtime()
    await opened.open(events)
    yield opened
    await opened.close(OnClose.KEEP)
