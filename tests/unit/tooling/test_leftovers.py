"""The soak's search for what is left: it finds what it is there to find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.harness import leftovers

WAITS = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"


def test_a_process_that_carries_the_folder_in_its_environment_is_found(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        assert [line.split()[0] for line in leftovers.processes(tmp_path)] == [str(process.pid)]
        process.communicate()
    assert leftovers.processes_after(tmp_path, seconds=5.0) == []


def test_what_the_platform_keeps_is_no_leftover_and_everything_else_is(tmp_path: Path) -> None:
    for kept in ("process/logs/Session/alice", "process/supervisor", "process/run/.trash"):
        (tmp_path / kept).mkdir(parents=True)
    (tmp_path / "process/logs/Session/alice/current.log").touch()
    (tmp_path / "process/supervisor/lock").touch()
    assert leftovers.files(tmp_path) == []
    (tmp_path / "process/run/a-token/home").mkdir(parents=True)
    (tmp_path / "process/supervisor/socket").touch()
    assert sorted(leftovers.files(tmp_path)) == [
        "process/run/a-token",
        "process/run/a-token/home",
        "process/supervisor/socket",
    ]
