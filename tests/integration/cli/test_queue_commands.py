"""``moorings queue``, as an operator types it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moorings.cli.commands import moorings
from tests.support.platform import Platform

APP = Path(__file__).parents[1] / "apps" / "queues"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(APP / "worker.py", tmp_path_factory.mktemp("queues")) as served:
        yield served


def run(platform: Platform, *arguments: str, given: bytes = b"") -> Result:
    """Run a command in this process: starting Python for each takes longer than all of them."""
    return CliRunner().invoke(moorings, ["queue", *arguments, "--data-dir", str(platform.data)], input=given)


def said(platform: Platform, *arguments: str, given: bytes = b"") -> str:
    done = run(platform, *arguments, given=given)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_messages_are_sent_looked_at_and_purged(platform: Platform) -> None:
    said(platform, "pause", "jobs")
    assert "sent to jobs" in said(platform, "send", "jobs", '{"id": 7}')
    said(platform, "send", "jobs", "tea is ready", "--content-type", "text", "--delay-seconds", "600")
    said(platform, "send", "jobs", "-", "--content-type", "bytes", given=b"\x00\x01")
    lines = said(platform, "peek", "jobs").splitlines()
    assert lines[0].startswith("ID")
    for word, line in zip(('{"id": 7}', "due in 10m", "2 bytes"), lines[1:], strict=True):
        assert word in line
    peeked = json.loads(said(platform, "peek", "jobs", "--limit", "2", "--json"))
    assert [message["body"] for message in peeked] == [{"id": 7}, "tea is ready"]
    listed = {queue["name"]: queue for queue in json.loads(said(platform, "ls", "--json"))}
    assert (listed["jobs"]["messages"], listed["jobs"]["delayed"], listed["jobs"]["paused"]) == (3, 1, True)
    assert "jobs (paused)" in said(platform, "ls")
    assert "deleted 3 messages of jobs" in said(platform, "purge", "jobs", "--yes")
    assert "jobs is empty" in said(platform, "peek", "jobs")
    assert "delivers again" in said(platform, "resume", "jobs")


def test_a_purge_asks_before(platform: Platform) -> None:
    said(platform, "send", "outbox", "1")
    assert run(platform, "purge", "outbox", given=b"n\n").exit_code == 1
    assert "deleted 1 message of outbox" in said(platform, "purge", "outbox", given=b"y\n")


def test_dead_letters_that_there_are_none_of(platform: Platform) -> None:
    assert "has no dead letters" in said(platform, "retry-dlq", "returned")
    assert json.loads(said(platform, "retry-dlq", "returned", "--json")) == {"queue": "returned", "moved": {}}


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["send", "jobs", "tea"], 2, "no JSON"),
        (["send", "jobs", "1", "--delay-seconds", "50000"], 2, "43200"),
        (["peek", "jbos"], 1, "there is no queue 'jbos'; those there are: jobs, outbox, returned, slow"),
        (["retry-dlq", "returned", "--to", "returned"], 1, "name the one they should go to"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(
    platform: Platform, arguments: list[str], code: int, complaint: str
) -> None:
    done = run(platform, *arguments)
    assert done.exit_code == code
    assert complaint in done.stderr


def test_a_port_to_pull_at_that_is_taken_says_so(platform: Platform, tmp_path: Path) -> None:
    host, port = platform.address
    command = [Path(sysconfig.get_path("scripts")) / "moorings", "serve", APP / "worker.py", "--port", "0"]
    command += ["--data-dir", tmp_path / "data", "--admin-listen", f"{host}:{port}"]
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "MOORINGS_ADMIN_TOKEN": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"--admin-listen {host}:{port} can't be had" in done.stdout + done.stderr
