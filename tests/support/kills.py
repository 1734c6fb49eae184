"""How often a chaos test kills what it tests: `--kills N`, a few by default, the full count in `make chaos`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=3, metavar="N", help="kills in each chaos test (default: 3)")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """The number of kills asked for, at least 1."""
    count = request.config.getoption("--kills")
    if not isinstance(count, int) or count < 1:
        raise pytest.UsageError(f"--kills {count}: at least 1")
    return count
