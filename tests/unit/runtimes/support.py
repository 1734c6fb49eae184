"""Looking at real processes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import psutil

from moorings.runtimes.base import StartSpec
from moorings.runtimes.process import proc
from tests.contract.runtime_labs import Events, ProcessLab


def python(lab: ProcessLab, code: str, *arguments: str, ports: tuple[int, ...] = ()) -> StartSpec:
    """A Python program."""
    return lab.command(sys.executable, "-I", "-S", "-u", "-c", code, *arguments, ports=ports)


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    return proc.is_alive(pid, proc.start_ticks(pid))


def supervisor_pid(lab: ProcessLab) -> int:
    """The supervisor of a lab's data folder."""
    return int((lab.data / "supervisor" / "lock").read_text())


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def log_text(lab: ProcessLab) -> str:
    """All logs, oldest first; while they are written, some may be missing because they are being rotated."""
    text = ""
    for file in sorted((lab.data / "logs").rglob("current.log*"), reverse=True):
        with contextlib.suppress(FileNotFoundError):
            text += file.read_text(errors="replace")
    return text


def start_sleeper(token: str) -> subprocess.Popen[bytes]:
    """A process that carries a token, and that no supervisor started."""
    return subprocess.Popen(["sleep", "1000"], env={"MOORINGS_TOKEN": token}, start_new_session=True)


def parent_of(pid: int) -> int:
    """Who would be told of a process's end."""
    return psutil.Process(pid).ppid()


async def pids_of(events: Events, token: str, *names: str) -> list[int]:
    """The numbers that a program printed as ``name 123``."""
    found = []
    for name in names:
        async with asyncio.timeout(20):
            while not (lines := [line for line in events.lines(token) if line.startswith(f"{name} ")]):
                await events.change()
        found.append(int(lines[0].split()[1]))
    return found
