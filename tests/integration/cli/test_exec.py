"""``moorings exec``: streams, exit codes, terminals, and whom the program ends with."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import PROGRAM, moorings
from tests.support.platform import Platform
from tests.support.raw import get
from tests.support.waiting import wait_until

APP = Path(__file__).parents[1] / "apps" / "boxes.py"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(APP, tmp_path_factory.mktemp("boxes")) as platform:
        yield platform


@pytest.fixture
async def box(platform: Platform) -> str:
    """A container that runs."""
    assert (await get(platform.address, "/Box/alice")).status == 200
    return "alice"


def command(platform: Platform, *arguments: str) -> list[str]:
    return ["exec", "--data-dir", str(platform.data), *arguments]


def run(platform: Platform, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return moorings(*command(platform, *arguments), stdin=stdin)


def sleepers(platform: Platform, seconds: str) -> list[psutil.Process]:
    """The processes of a container that sleep so long."""
    return [process for process in platform.containers() if process.cmdline() == ["sleep", seconds]]


def test_streams_and_exit_code_are_those_of_the_command(platform: Platform, box: str) -> None:
    done = run(platform, box, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert run(platform, box, "sh", "-c", "kill -TERM $$").returncode == 143


def test_it_has_the_containers_environment_and_folder(platform: Platform, box: str) -> None:
    done = run(platform, "-e", "OWN=1", box, "--", "sh", "-c", "echo $COLOUR $OWN $MOORINGS_NAME; pwd; test -n $PORT")
    assert done.stdout.splitlines() == ["blue 1 alice", str(APP.parent)]
    assert run(platform, "--cwd", "/", box, "--", "pwd").stdout == "/\n"
    assert run(platform, "--cwd", "/nowhere", box, "--", "pwd").returncode == 127


def test_standard_input_goes_in_with_i_alone(platform: Platform, box: str) -> None:
    sent = os.urandom(300_000).hex().encode()
    assert run(platform, "-i", box, "--", "cat", stdin=sent).stdout.encode() == sent
    assert run(platform, box, "--", "cat", stdin=sent).stdout == ""


def test_a_program_that_does_not_exist_is_127_and_what_does_not_run_is_125(platform: Platform, box: str) -> None:
    missing = run(platform, box, "--", "no-such-program")
    assert missing.returncode == 127
    assert "no-such-program" in missing.stderr
    assert run(platform, "nobody", "--", "true").returncode == 125
    moorings("stop", "--data-dir", str(platform.data), box)
    sleeping = run(platform, box, "--", "true")
    assert sleeping.returncode == 125
    assert "isn't running" in sleeping.stderr
    assert moorings("exec", "--data-dir", str(platform.folder), box, "true").returncode == 125


def test_a_timeout_kills_it_and_is_124(platform: Platform, box: str) -> None:
    done = run(platform, "--timeout", "0.2s", box, "--", "sleep", "3001")
    assert done.returncode == 124
    assert "took over 0.2 s" in done.stderr
    assert sleepers(platform, "3001") == []


def test_json_has_all_that_was_printed(platform: Platform, box: str) -> None:
    done = run(platform, "--json", box, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert json.loads(done.stdout) == {"exit_code": 3, "stdout": "out\n", "stderr": "err\n"}
    assert done.returncode == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a program as somebody else")
def test_user_changes_who_it_runs_as(platform: Platform, box: str) -> None:
    assert run(platform, "-u", "nobody", box, "--", "id", "-un").stdout == "nobody\n"
    assert run(platform, "-u", "1234:4321", box, "--", "id", "-u").stdout == "1234\n"
    assert "no user 'nemo'" in run(platform, "-u", "nemo", box, "--", "id").stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_the_program_ends_with_the_command(platform: Platform, box: str, signum: int) -> None:
    with subprocess.Popen([PROGRAM, *command(platform, box, "--", "sleep", "3002")]) as running:
        wait_until(lambda: sleepers(platform, "3002"), "the program runs")
        running.send_signal(signum)
        assert running.wait(20) == (130 if signum == signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: not sleepers(platform, "3002"), "the program is gone")


def test_the_command_ends_with_its_container(platform: Platform, box: str) -> None:
    with subprocess.Popen([PROGRAM, *command(platform, box, "--", "sleep", "3003")]) as running:
        wait_until(lambda: sleepers(platform, "3003"), "the program runs")
        assert moorings("destroy", "--data-dir", str(platform.data), box).returncode == 0
        assert running.wait(20) == 137
    assert sleepers(platform, "3003") == []


def test_programs_die_with_a_platform_that_is_killed(tmp_path: Path) -> None:
    platform = Platform(APP, tmp_path / "run")
    try:
        assert asyncio.run(get(platform.address, "/Box/alice")).status == 200
        with subprocess.Popen([PROGRAM, *command(platform, "alice", "--", "sleep", "3004")]) as running:
            wait_until(lambda: sleepers(platform, "3004"), "the program runs")
            platform.crash()
            assert running.wait(20) == 125
        wait_until(lambda: not sleepers(platform, "3004"), "the program is gone")
    finally:
        platform.kill()


class Terminal:
    """A program on a terminal, as a person sees it."""

    def __init__(self, arguments: list[str], *, rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_take_terminal
        )
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes) -> None:
        """Read until a text was printed, and forget all up to its end."""
        deadline = time.monotonic() + 20
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_terminal_is_raw_has_the_right_size_and_is_restored(platform: Platform, box: str) -> None:
    terminal = Terminal([PROGRAM, *command(platform, "-it", box, "--", "sh")], rows=31, columns=97)
    try:
        terminal.type(b"tty >/dev/null && stty size; echo re''ady\n")
        terminal.expect(b"31 97")
        terminal.expect(b"ready")
        terminal.resize(11, 55)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.type(b"while [ \"$(stty size)\" != '11 55' ]; do :; done; echo res''ized\n")
        terminal.expect(b"resized")
        terminal.type(b"echo go''ing; sleep 3005\n")
        terminal.expect(b"going")
        wait_until(lambda: sleepers(platform, "3005"), "the program sleeps")
        terminal.type(b"\x03")  # Ctrl-C is for the program inside
        terminal.type(b"echo still he''re; exit 9\n")
        terminal.expect(b"still here")
        assert terminal.process.wait(20) == 9
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_a_terminal_is_restored_when_the_command_is_ended_by_a_signal(platform: Platform, box: str) -> None:
    terminal = Terminal(
        [PROGRAM, *command(platform, "-it", box, "--", "sh", "-c", "echo up; sleep 3006")], rows=24, columns=80
    )
    try:
        terminal.expect(b"up")
        assert termios.tcgetattr(terminal.slave) != terminal.before
        terminal.process.terminate()
        assert terminal.process.wait(20) == 143
        assert termios.tcgetattr(terminal.slave) == terminal.before
        wait_until(lambda: not sleepers(platform, "3006"), "the program is gone")
    finally:
        terminal.close()
