"""Every process the supervisor parents is reaped here, and none of a container's survives its main process.

The supervisor is a subreaper (prctl(2)): whatever a container's processes leave behind becomes its child, a *stray*.
A stray is a container's if it is in its session, carries its MOORINGS_TOKEN, writes to its pipes, or descends from
one that did any of that when last seen. A process that evades all four is killed when no container is left running,
at the latest.

No signal can hit the wrong process: a child's pid, and the group it leads, stay its own until it is reaped, and it is
reaped here only; others are signalled through a pidfd.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from moorings.runtimes.process import proc
from moorings.runtimes.process.container import Container
from moorings.runtimes.process.loop import Loop, Timer
from moorings.runtimes.process.wire import Ending

_PIPES_HELD = 0.5  # seconds to wait for the end of pipes that no process of the container can be found to hold
_UNKILLABLE = 5.0  # seconds to wait for strays that SIGKILL does not end (stuck in the kernel)
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05


class Reaper:
    """Watches main processes and clears up after them."""

    def __init__(
        self, loop: Loop, *, find: Callable[[str], Container | None], finished: Callable[[Container], None]
    ) -> None:
        self.mains: dict[int, Container] = {}
        self.leaving: dict[int, Container] = {}
        self._helpers: dict[int, Callable[[], None]] = {}
        self._guests: dict[int, Callable[[int], None]] = {}
        # pid: start ticks and owner, of descendants seen before a kill
        self._lineage: dict[int, tuple[int, Container]] = {}
        self._owners: dict[int, Container] = {}  # strays whose owner is known
        self._loop = loop
        self._find = find
        self._finished = finished
        self._timer: Timer | None = None
        self._wait = _FIRST_LOOK
        self._oom_kills = proc.oom_kills()

    def watch(self, container: Container) -> None:
        """A main process was spawned."""
        self.mains[container.incarnation.pid] = container
        container.on_pipe_closed = self.sweep

    def watch_helper(self, pid: int, done: Callable[[], None]) -> None:
        """A process of the supervisor's own was spawned."""
        self._helpers[pid] = done

    def watch_guest(self, pid: int, container: Container, ended: Callable[[int], None]) -> None:
        """A program was started inside a container; ``ended`` gets its exit code, 128 + n where signal n ended it."""
        self._guests[pid] = ended
        self._owners[pid] = container

    def kill_guest(self, pid: int) -> None:
        """SIGKILL a guest's group and its descendants; what gets away is a stray of the container."""
        if pid not in self._guests:
            return
        descendants = [(child, proc.start_ticks(child)) for child in proc.descendants(pid)]
        _signal_group(pid, signal.SIGKILL)
        for child, ticks in descendants:
            proc.kill(child, ticks)

    def signal(self, container: Container, signum: int) -> None:
        """Signal the main process's group, if it still runs."""
        if container.incarnation.pid in self.mains:
            _signal_group(container.incarnation.pid, signum)

    def kill(self, container: Container, reason: str = "destroyed") -> None:
        """SIGKILL the main process's group and its descendants; strays follow when it has ended."""
        pid = container.incarnation.pid
        if pid not in self.mains:
            return
        container.killed_as = reason
        self._remember(container, pid)
        _signal_group(pid, signal.SIGKILL)
        for descendant, (ticks, owner) in list(self._lineage.items()):
            if owner is container:
                proc.kill(descendant, ticks)

    def reap(self) -> None:
        """On SIGCHLD: collect whoever ended."""
        ended = False
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if seen is None:
                break
            pid = seen.si_pid
            container = self.mains.pop(pid, None)
            if container is not None:
                _signal_group(pid, signal.SIGKILL)  # before it is reaped: until then its group is its own
                self._main_ended(container, signalled=seen.si_code != os.CLD_EXITED, status=seen.si_status)
            os.waitpid(pid, 0)
            self._owners.pop(pid, None)
            self._lineage.pop(pid, None)
            helper = self._helpers.pop(pid, None)
            if helper is not None:
                helper()
            guest = self._guests.pop(pid, None)
            if guest is not None:
                guest(seen.si_status if seen.si_code == os.CLD_EXITED else 128 + seen.si_status)
            ended = True
        if ended:
            self.sweep()

    def sweep(self) -> None:
        """Kill the strays of those that leave, and let go who has neither strays nor unread output."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.leaving:
            return
        busy = self._kill_strays()
        now = time.monotonic()
        for pid, container in list(self.leaving.items()):
            ended = container.left_at
            has_strays = None in busy or container in busy
            if has_strays and now < ended + _UNKILLABLE:
                continue
            if container.has_open_pipes and now < ended + _PIPES_HELD:
                for pipe in container.pipes:
                    pipe.read_rest()
                if container.has_open_pipes:
                    continue
            for pipe in container.pipes:
                pipe.read_rest()
            del self.leaving[pid]
            self._lineage = {pid: item for pid, item in self._lineage.items() if item[1] is not container}
            self._finished(container)
        if self.leaving:
            self._timer = self._loop.call_later(self._wait, self.sweep)
            self._wait = min(self._wait * 2, _LAST_LOOK)
        else:
            self._wait = _FIRST_LOOK

    def kill_everything(self) -> None:
        """SIGKILL every child that is left, whoever's it was; for the end of the supervisor."""
        for pid in proc.children(os.getpid()):
            if pid not in self._helpers:
                _signal(pid, signal.SIGKILL)

    def has_strays(self) -> bool:
        """Whether any process is left that is neither a main process nor a helper."""
        return any(pid not in self.mains and pid not in self._helpers for pid in proc.children(os.getpid()))

    def processes(self, container: Container) -> list[int]:
        """The processes of a running container as far as they can be found, its main process first."""
        main = container.incarnation.pid
        found = [main, *proc.descendants(main)]
        for pid in proc.children(os.getpid()):
            if pid not in self.mains and pid not in self._helpers and self._owner(pid) is container:
                found += [pid, *proc.descendants(pid)]
        return found

    def _main_ended(self, container: Container, *, signalled: bool, status: int) -> None:
        if not signalled:
            code, reason = status, "exit"
        else:
            code = 128 + status
            reason = "signal"
            if status == signal.SIGKILL:
                # Best effort: the kernel does not say whom it killed. A SIGKILL that we did not send, with the
                # counter of OOM kills (of our control group where there is version 2, else of the machine) grown
                # since we last looked, is taken for one. A kill -9 from outside right after another program's OOM
                # kill is mistaken for it.
                kills = proc.oom_kills()
                if container.killed_as:
                    reason = container.killed_as
                elif kills > self._oom_kills:
                    reason = "oom"
                self._oom_kills = kills
        container.ending = Ending(code, reason, time.time())
        container.left_at = time.monotonic()
        self.leaving[container.incarnation.pid] = container
        self._wait = _FIRST_LOOK

    def _kill_strays(self) -> set[Container | None]:
        """Returns the containers that have strays; None among them stands for strays that nobody owns."""
        busy: set[Container | None] = set()
        for pid in proc.children(os.getpid()):
            if pid in self.mains or pid in self._helpers:
                continue
            owner = self._owner(pid)
            if owner is None:
                if self.mains:
                    continue  # may belong to one that runs
            elif owner.incarnation.pid in self.mains:
                continue
            if owner is not None:
                self._remember(owner, pid)
            _signal(pid, signal.SIGKILL)
            busy.add(owner)
        return busy

    def _owner(self, pid: int) -> Container | None:
        owner = self._owners.get(pid) or self._find_owner(pid)
        if owner is not None:
            self._owners[pid] = owner
        return owner

    def _find_owner(self, pid: int) -> Container | None:
        session = proc.session(pid)
        container = self.mains.get(session) or self.leaving.get(session)
        if container is not None:
            return container
        token = proc.environment_value(pid, b"MOORINGS_TOKEN")
        if token is not None:
            container = self._find(token.decode("utf-8", "replace"))
            if container is not None:
                return container
        lineage = self._lineage.get(pid)
        if lineage is not None and lineage[0] == proc.start_ticks(pid):
            return lineage[1]
        targets = proc.links(pid, 1, 2)
        for container in (*self.leaving.values(), *self.mains.values()):
            if any(pipe.inode in targets for pipe in container.pipes):
                return container
        return None

    def _remember(self, owner: Container, ancestor: int) -> None:
        for pid in proc.descendants(ancestor):
            self._lineage[pid] = (proc.start_ticks(pid), owner)


def _signal(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except OSError:
        return  # it has ended, or runs as somebody whom we may not signal


def _signal_group(pid: int, signum: int) -> None:
    try:
        os.killpg(pid, signum)
    except OSError:
        return
