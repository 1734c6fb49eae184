"""Who is running and who is left: processes found by what they carry; programs started without the platform."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from moorings.runtimes.process.ports import Ports
from tests.support.raw import Address
from tests.support.waiting import wait_until


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes, other than this one, that carry ``folder`` in their command line or environment."""
    mark = os.fsencode(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if mark in (entry / "cmdline").read_bytes() or mark in (entry / "environ").read_bytes():
                found.append(psutil.Process(int(entry.name)))
    return found


def describe(processes: Sequence[psutil.Process]) -> str:
    """One line a process, for a failed assertion."""
    lines = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            lines.append(f"{process.pid} (parent {process.ppid()}): {' '.join(process.cmdline())}")
    return "\n".join(lines)


def free_port() -> int:
    """A TCP port that nobody listens on now, and that no outgoing connection takes before it is used."""
    return Ports().take()


def accepts(address: Address) -> bool:
    """Whether somebody accepts connections on ``address``."""
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(address) == 0


@contextlib.contextmanager
def program(command: Sequence[str], port: int, *, env: Mapping[str, str], log: Path) -> Iterator[Address]:
    """Run ``command`` until the block ends; yields its address once it accepts connections on ``port``."""
    address = ("127.0.0.1", port)
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        ) as child,
    ):
        try:
            wait_until(lambda: child.poll() is not None or accepts(address), f"{command[0]} accepts on port {port}")
            assert child.poll() is None, f"{command} ended with {child.returncode}: {log.read_text()}"
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
