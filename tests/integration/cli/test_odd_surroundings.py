"""Commands where a stream is closed, full or knows few letters, and names and arguments are what nobody expects."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.cli import PROGRAM
from tests.support.platform import Platform
from tests.support.raw import get

APP = Path(__file__).parents[1] / "apps" / "boxes.py"
NAME = "over\x1b[2J\nthere\u202e"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(APP, tmp_path_factory.mktemp("boxes")) as platform:
        yield platform


@pytest.fixture
async def box(platform: Platform) -> str:
    """A container that runs."""
    assert (await get(platform.address, "/Box/alice")).status == 200
    return "alice"


def run(platform: Platform, *arguments: str | bytes, redirected: str = "") -> subprocess.CompletedProcess[bytes]:
    """A command whose streams a shell has ``redirected``; with letters of ASCII only."""
    command, *rest = arguments
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", PROGRAM, command, "--data-dir", str(platform.data), *rest],
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_standard_input_that_is_closed_is_an_empty_one(platform: Platform, box: str) -> None:
    done = run(platform, "exec", "-i", box, "--", "sh", "-c", "cat; echo done", redirected="<&-")
    assert (done.stdout, done.returncode) == (b"done\n", 0)
    done = run(platform, "exec", "-it", box, "--", "sh", "-c", "echo done", redirected="<&-")
    assert (done.stdout, done.returncode) == (b"done\r\n", 0)


def test_a_command_whose_streams_are_closed_does_what_it_is_for(platform: Platform, box: str) -> None:
    command = ("exec", box, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert run(platform, *command, redirected="<&- >&- 2>&-").returncode == 7


@pytest.mark.parametrize(("arguments", "code"), [(("ps",), 1), (("exec", "alice", "echo", "hello"), 125)])
def test_output_that_can_not_be_written_is_told(
    platform: Platform, box: str, arguments: tuple[str, ...], code: int
) -> None:
    done = run(platform, *arguments, redirected=">/dev/full")
    assert done.stderr == b"Error: the output can't be written: No space left on device\n"
    assert done.returncode == code


def test_an_argument_that_is_no_utf8_is_refused_with_a_sentence(platform: Platform) -> None:
    done = run(platform, "stop", b"al\xff")
    assert done.stderr == b"Error: 'al\\udcff' is no UTF-8\n"
    done = run(platform, "exec", "--json", "-e", b"A=\xff", "alice", "--", "env")
    assert json.loads(done.stdout)["code"] == "bad_request"


def test_numbers_that_are_none_are_refused_with_a_sentence(platform: Platform, box: str) -> None:
    for timeout in ("nan", "-1"):
        assert b"a duration is finite and not negative" in run(platform, "exec", "--timeout", timeout, box, "id").stderr
    assert b"there is no signal" in run(platform, "stop", box, "--signal", "9" * 5000).stderr


async def test_a_name_moves_no_cursor_and_breaks_no_line(platform: Platform) -> None:
    assert (await get(platform.address, f"/Box/{quote(NAME)}")).status == 200
    listed = run(platform, "ps").stdout.decode()
    stopped = run(platform, "stop", NAME).stdout.decode()
    refused = run(platform, "stop", NAME[1:]).stderr.decode()
    for shown in (listed, stopped, refused):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert stopped.count("\n") == 1
    assert "over" in listed
