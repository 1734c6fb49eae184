"""Seeing that a frozen container runs again before the Engine says so.

The Engine answers an unpause when runc has ended and its own record is written; the program has run for most of that
time. The kernel tells at once, in the cgroup of a container of this machine.
"""

from __future__ import annotations

from pathlib import Path

from moorings.clock import Clock

_PAUSE = 0.0005  # seconds between two looks
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class Freezer:
    """The file in which the kernel says whether a process is frozen: cgroup v1's freezer, or v2's events."""

    __slots__ = ("_file", "_thawed")

    def __init__(self, file: Path, thawed: str) -> None:
        self._file = file
        self._thawed = thawed

    @property
    def is_thawed(self) -> bool:
        """Whether nothing is frozen there. False where that can't be read."""
        try:
            return self._thawed in self._file.read_text()
        except OSError:
            return False

    async def thawed(self, clock: Clock) -> None:
        """Return when nothing is frozen there any more."""
        while not self.is_thawed:
            await clock.sleep(_PAUSE)


def freezer_of(pid: int, container: str, *, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Freezer | None:
    """The freezer of a container by a process of it; None where it can't be found from here."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    found = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, folder, name, thawed in (
        ("freezer", cgroups / "freezer", "freezer.state", "THAWED"),
        ("", cgroups, "cgroup.events", "frozen 0"),
    ):
        path = found.get(controllers)
        if path is not None and container in path and (file := folder / path / name).is_file():
            return Freezer(file, thawed)
    return None
