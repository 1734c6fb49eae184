"""What the runtime knows of one container while it exists."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from moorings.runtimes.base import Running
from moorings.runtimes.docker.ends import Cause
from moorings.runtimes.docker.output import Follower


@dataclass(slots=True, eq=False)
class Incarnation:
    """``running`` is None until its start has returned; nothing of it is reported before ``released`` is set."""

    token: str
    class_name: str
    object_id: str
    container: str
    running: Running | None = None
    cause: Cause = Cause.UNKNOWN
    paused: bool = False
    is_local: bool = False
    """Whether its process is one of this machine, so that its end can be seen without the Engine."""
    thawing: asyncio.Task[None] | None = None
    """The Engine's last unpause; it may still be at it while the program runs already."""
    held_signals: list[int] = field(default_factory=list)
    """Signals that wait for the container to be thawed, or for the Engine to come back."""
    was_oom: bool = False
    was_signalled: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its end has been reported."""
    follower: Follower | None = None
    following: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None

    @property
    def process_is_gone(self) -> bool:
        """Whether its process is seen to be gone."""
        if not self.is_local or self.running is None or self.running.pid is None:
            return False
        return not belongs(self.running.pid, self.container)


def belongs(pid: int, container: str) -> bool:
    """Whether a process of this machine is in a container's cgroup."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return container in file.read()
    except OSError:
        return False
