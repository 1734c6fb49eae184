"""In CI a skipped test is a failure: CI can have all that the tests need, so a skip hides a test that no longer runs.

Active where the environment has CI=true. A skip that CI can't avoid goes into ALLOWED with its reason. Xfails pass.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

_FOUND = "moorings-skips"

ALLOWED: Mapping[str, str] = {
    # "tests/integration/test_x.py::test_*": "why CI cannot run it",
}


class SkipsFail:
    """Collects the skips of a session and fails it where one is not allowed."""

    def __init__(self, allowed: Mapping[str, str]) -> None:
        self._allowed = allowed
        self._found: dict[str, str] = {}

    def _record(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        if any(fnmatchcase(report.nodeid, pattern) for pattern in self._allowed):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        self._found[report.nodeid] = reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._record(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._record(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of a parallel run has ended: take what it found, modules that skip themselves among it."""
        self._found |= getattr(node, "workeroutput", {}).get(_FOUND, {})

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_FOUND] = self._found
        elif self._found and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._found:
            return
        terminalreporter.section("skipped, which CI does not allow (tests/support/ci_skips.py)", red=True)
        for nodeid, reason in sorted(self._found.items()):
            terminalreporter.line(f"{nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkipsFail(ALLOWED), "moorings-skips-fail")
