"""Looking at real processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
    """All logs, oldest first."""
    files = sorted((lab.data / "logs").rglob("current.log*"), reverse=True)
    return "".join(file.read_text(errors="replace") for file in files)


async def pids_of(events: Events, token: str, *names: str) -> list[int]:
    """The numbers that a program printed as ``name 123``."""
    found = []
    for name in names:
        async with asyncio.timeout(20):
            while not (lines := [line for line in events.lines(token) if line.startswith(f"{name} ")]):
                await events.change()
        found.append(int(lines[0].split()[1]))
    return found
