"""Processes that a supervisor left behind when it was killed: found by what they were started with, and killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from moorings.runtimes.process import proc

_PATIENCE = 5.0  # seconds


def kill_leftovers(mains: Mapping[int, int], *, is_ours: Callable[[str], bool]) -> int:
    """SIGKILL main processes (pid: start ticks), their sessions, and all processes whose MOORINGS_TOKEN ``is_ours``.

    Returns how many were killed, when they are gone (or after 5 s, where the kernel holds on to one). Reads all of
    /proc.
    """
    killed: dict[int, int] = {}
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = {pid: ticks for pid, ticks in _find(mains, is_ours) if proc.is_alive(pid, ticks)}
        if not found or time.monotonic() > deadline:
            return len(killed)
        for pid, ticks in found.items():
            proc.kill(pid, ticks)
        killed |= found
        while time.monotonic() < deadline and any(proc.is_alive(pid, ticks) for pid, ticks in found.items()):
            time.sleep(0.002)


def _find(mains: Mapping[int, int], is_ours: Callable[[str], bool]) -> list[tuple[int, int]]:
    sessions = {pid for pid, ticks in mains.items() if proc.start_ticks(pid) == ticks}
    found = []
    for pid in proc.pids():
        ticks = proc.start_ticks(pid)
        if pid == os.getpid() or not ticks:
            continue
        token = proc.environment_value(pid, b"MOORINGS_TOKEN")
        if proc.session(pid) in sessions or (token is not None and is_ours(token.decode("utf-8", "replace"))):
            found += [(pid, ticks), *((child, proc.start_ticks(child)) for child in proc.descendants(pid))]
    return found
