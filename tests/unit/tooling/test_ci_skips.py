"""The rule about skips in CI, on small sessions of pytest's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ci_skips import SkipsFail

ROOT = Path(__file__).parents[3]

pytest_plugins = ["pytester"]

# The inner sessions need none of these, and start in a tenth of the time without.
UNUSED = ("asyncio", "hypothesispytest", "randomly", "anyio", "timeout")
PLAIN = [part for name in UNUSED for part in ("-p", f"no:{name}")]

SKIPPING = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such program here")

@pytest.mark.xfail(reason="known")
def test_is_expected_to_fail():
    assert False
"""


def test_a_skip_fails_the_session_and_is_named_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPPING)
    result = pytester.inline_run(*PLAIN, plugins=[SkipsFail({})])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_skip_on_the_list_passes(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(SKIPPING)
    allowed = {f"{path.name}::test_skips": "CI has no such program"}
    assert pytester.inline_run(*PLAIN, plugins=[SkipsFail(allowed)]).ret == pytest.ExitCode.OK


def test_a_module_that_skips_itself_fails_the_session(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\npytest.skip('not here', allow_module_level=True)")
    assert pytester.inline_run(*PLAIN, plugins=[SkipsFail({})]).ret == pytest.ExitCode.TESTS_FAILED


def test_sessions_without_skips_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_passes(): pass")
    assert pytester.inline_run(*PLAIN, plugins=[SkipsFail({})]).ret == pytest.ExitCode.OK


def test_the_summary_names_each_skip(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from tests.support.ci_skips import SkipsFail\n"
        "def pytest_configure(config): config.pluginmanager.register(SkipsFail({}))"
    )
    pytester.makepyfile(SKIPPING)
    result = pytester.runpytest_inprocess(*PLAIN)
    result.stdout.fnmatch_lines(["*::test_skips: *no such program here"])


def test_skips_in_the_workers_of_a_parallel_run_fail_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(
        "from tests.support.ci_skips import SkipsFail\n"
        "def pytest_configure(config): config.pluginmanager.register(SkipsFail({}))"
    )
    pytester.makepyfile(
        test_module="import pytest\npytest.skip('not here', allow_module_level=True)",
        test_inside="import pytest\ndef test_skips(): pytest.skip('nor here')",
    )
    result = pytester.runpytest_subprocess(*PLAIN, "-n", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_inside*nor here*", "*test_module*not here*"])
