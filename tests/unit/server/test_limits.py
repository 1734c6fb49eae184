"""The limit of open files, in a process of its own: it can't be put back."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from moorings.observer import Notice, Recorder
from moorings.server.limits import raise_open_files

CODE = """
import resource
from moorings.observer import Recorder
from moorings.server.limits import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
recorder = Recorder()
raise_open_files(recorder)
print(*resource.getrlimit(resource.RLIMIT_NOFILE), len(recorder.events))
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()


def test_the_soft_limit_becomes_the_hard_one() -> None:
    assert run(CODE) == "200 200 0"


def test_a_limit_that_cannot_be_raised_is_left_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 200))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    recorder = Recorder()
    raise_open_files(recorder)
    [event] = recorder.events
    assert isinstance(event, Notice)
    assert event.level == "debug"
