"""A place for local processes, and a runtime that is open on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorings.runtimes.base import OnClose
from moorings.runtimes.process import ProcessRuntime
from tests.contract.runtime_labs import Events, ProcessLab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ProcessLab]:
    made = ProcessLab(tmp_path)
    yield made
    await made.clean_up()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def runtime(lab: ProcessLab, events: Events) -> AsyncIterator[ProcessRuntime]:
    opened = lab.runtime()
    await opened.open(events)
    yield opened
    await opened.close(OnClose.KEEP)
