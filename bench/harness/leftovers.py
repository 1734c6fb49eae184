"""What a run left behind: processes, files in the data folder that aren't meant to stay, and files elsewhere.

Everything of a run mentions the run's folder somewhere: the upstream program, the data folder and TMPDIR are in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import psutil

# What the platform keeps in its data folder on purpose: logs until they are rotated out, locks, databases, and what
# tells the folder from a copy.
KEPT = (
    *("process", "process/place", "process/logs", "process/logs/*", "process/run", "process/run/.trash"),
    *("process/supervisor", "process/supervisor/lock", "process/supervisor/log"),
    *(".gitignore", "lock", "*.lock", "*.db", "*.db-wal", "*.db-shm", "*.sqlite*"),
)
SHARED_TEMPORARY = (Path("/tmp"), Path("/dev/shm"), Path("/run"))


def processes(folder: Path) -> list[str]:
    """Every process that mentions `folder` in its command line, environment or working directory, this one apart."""
    found = []
    needle = str(folder)
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != psutil.Process().pid and any(needle in word for word in words):
            found.append(f"{process.pid} {' '.join(words[:4])}")
    return found


def processes_after(folder: Path, *, seconds: float) -> list[str]:
    """`processes`, once there are none or the time is up: a supervisor with nothing left to do ends by itself."""
    deadline = time.monotonic() + seconds
    while (found := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def files(data: Path, kept: Iterable[str] = KEPT) -> list[str]:
    """What is in the data folder, files, folders and sockets, that nobody is to find there after a stop."""
    there = (path.relative_to(data).as_posix() for path in data.rglob("*"))
    return [name for name in there if not any(fnmatchcase(name, pattern) for pattern in kept)]


class Elsewhere:
    """Entries of the machine's shared temporary folders that mention moorings: what came since this was made."""

    def __init__(self, *, apart_from: Path) -> None:
        self._own = apart_from
        self._before = self._entries()

    def new(self) -> list[str]:
        return sorted(self._entries() - self._before)

    def _entries(self) -> set[str]:
        found = (path for folder in SHARED_TEMPORARY if folder.is_dir() for path in folder.iterdir())
        return {str(path) for path in found if "moorings" in path.name.lower() and path != self._own}
