"""What ``moorings doctor`` makes of what an Engine says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from moorings.runtimes.docker.diagnosis import Level, findings
from moorings.runtimes.docker.engine import Engine

INFO = {
    "ServerVersion": "1",
    "InitBinary": "docker-init",
    "SecurityOptions": ["name=seccomp"],
    "Driver": "btrfs",
    "LiveRestoreEnabled": True,
}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An Engine that isn't connected, and says that all is well."""
    made = Engine("unix:///nowhere.sock")
    made.info = INFO
    yield made
    await made.close()


def worries(engine: Engine) -> list[str]:
    return [each.text for each in findings(engine, engine.host) if each.level is not Level.OK]


async def test_an_engine_with_all_that_is_needed_gets_no_warning(engine: Engine) -> None:
    assert worries(engine) == []


async def test_on_podman_the_doctor_warns_that_containers_reach_each_other(engine: Engine) -> None:
    engine.is_podman = True
    [worry] = worries(engine)
    assert "reach each other's ports" in worry
