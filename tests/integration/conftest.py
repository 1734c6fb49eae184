"""Platforms and proxies that the integration tests share, one of each per module.

With ``MOORINGS_TEST_FRONT=nginx`` nginx takes the platform's place wherever a test only needs a proxy before a program:
it validates such tests against a proxy known to be good.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.malformed.table import OPTIONS, nginx_and_program
from tests.support.platform import Platform
from tests.support.raw import Address
from tools.engine import Engine

APPS = Path(__file__).with_name("apps")
NGINX_IS_FRONT = os.environ.get("MOORINGS_TEST_FRONT") == "nginx"


@pytest.fixture(scope="module", params=["process", "docker"])
def module_place(request: pytest.FixtureRequest) -> Engine | None:
    """Where the containers of a module's tests run, each test on both: None for local processes."""
    return request.getfixturevalue("docker_engine") if request.param == "docker" else None


@pytest.fixture
def place(module_place: Engine | None) -> Iterator[Engine | None]:
    """The same, with the test inside the Engine's network."""
    with contextlib.nullcontext() if module_place is None else module_place.network():
        yield module_place


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The platform before one container that records what reaches it."""
    folder = tmp_path_factory.mktemp("recorder")
    if NGINX_IS_FRONT:
        with nginx_and_program(folder) as address:
            yield address
    else:
        with Platform(APPS / "one_container.py", folder / "platform", options=OPTIONS) as platform:
            yield platform.address


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """nginx before the same program."""
    with nginx_and_program(tmp_path_factory.mktemp("nginx")) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform before a gRPC server in a container, and containers that fail."""
    with Platform(APPS / "grpc_behind.py", tmp_path_factory.mktemp("grpc") / "platform") as platform:
        yield platform
