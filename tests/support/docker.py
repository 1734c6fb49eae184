"""A private Docker Engine for the tests, one a session; each test that asks for ``engine`` runs inside its network.

The Engine has its own data, sockets and network namespace, so two test runs, and an Engine of the machine, don't
disturb each other. A fixture of a wider scope that starts processes needs ``docker_engine`` and its ``network()``.

In a parallel run one process runs all of these tests (``pytest_collection_modifyitems``), so one dockerd is started.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.engine import Engine, EngineNotPossible

GROUP = "docker"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_on_docker(item):
            item.add_marker(pytest.mark.xdist_group(GROUP))


def _is_on_docker(item: pytest.Item) -> bool:
    """Whether a test has the Engine: by its fixtures, or by the parameter ``docker`` of one that then takes it."""
    if not isinstance(item, pytest.Function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "docker_engine" in item.fixturenames or any(value == "docker" for value in parameters)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """The Engine of this session."""
    try:
        engine = Engine()
    except EngineNotPossible as error:
        pytest.skip(f"Docker tests need an Engine of their own: {error}")
    with engine:
        yield engine


@pytest.fixture
def engine(docker_engine: Engine) -> Iterator[Engine]:
    """The Engine, with the test inside its network; asserts that the test leaves no container."""
    if not docker_engine.answers():
        docker_engine.stop()
        docker_engine.start()
    with docker_engine.network():
        yield docker_engine
