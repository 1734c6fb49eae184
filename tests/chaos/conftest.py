"""Where the containers of a chaos test run: as processes, and on Docker."""

from __future__ import annotations

import pytest

from tools.engine import Engine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both places, where a test doesn't choose them with its points."""
    if "place" in metafunc.fixturenames and "point" not in metafunc.fixturenames:
        metafunc.parametrize("place", ["process", "docker"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Engine | None:
    """The session's Engine, with the test inside its network, or None: processes of this machine."""
    if request.param == "process":
        return None
    engine = request.getfixturevalue("engine")
    assert isinstance(engine, Engine)
    return engine
