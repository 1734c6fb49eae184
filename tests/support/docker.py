"""A private Docker Engine for the tests, one a session; each test that asks for ``engine`` runs inside its network.

The Engine has its own data, sockets and network namespace, so two test runs, and an Engine of the machine, don't
disturb each other. A fixture of a wider scope that starts processes needs ``docker_engine`` and its ``network()``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.engine import Engine, EngineNotPossible


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
