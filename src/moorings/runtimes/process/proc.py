"""What /proc tells about processes (proc(5)).

Everything may vanish while it is read: absent is an answer, never an error.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator


def read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """A text that differs after each boot of the machine; empty where unknown."""
    return read("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the command's name: state, ppid, pgrp, session, ..."""
    data = read(f"/proc/{pid}/stat")
    return data[data.rfind(b")") + 2 :].split()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where it does not exist. With the pid, its identity."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def is_alive(pid: int, ticks: int) -> bool:
    """Whether this very process runs (a zombie does not)."""
    fields = _stat(pid)
    return len(fields) > 19 and int(fields[19]) == ticks and fields[0] not in (b"Z", b"X")


def is_stopped(pid: int) -> bool:
    """Whether a process does nothing: it was stopped by a signal, has ended, or is being traced."""
    return _stat(pid)[:1] not in ([b"R"], [b"S"], [b"D"], [b"I"], [b"P"])


def session(pid: int) -> int:
    """The session of a process; 0 where it does not exist."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def environment_value(pid: int, name: bytes) -> bytes | None:
    """A variable of the environment a process was started with; None where it has none, or may not be read."""
    prefix = name + b"="
    for entry in read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :]
    return None


def pids() -> Iterator[int]:
    """Every process."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            yield int(name)


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies included."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    if not os.path.exists(f"/proc/{pid}/task/{pid}/children"):  # needs CONFIG_PROC_CHILDREN
        wanted = str(pid).encode()
        return [other for other in pids() if _stat(other)[1:2] == [wanted]]
    found: list[int] = []
    for thread in threads:
        found.extend(map(int, read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on; not the process itself."""
    found = children(pid)
    for child in found:  # grows while it is walked
        found.extend(children(child))
    return found


def links(pid: int, *descriptors: int) -> list[str]:
    """What some of a process's descriptors are, such as ``pipe:[123]``."""
    found = []
    for descriptor in descriptors:
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except OSError:
            continue
    return found


def usage(pids: Iterable[int]) -> tuple[float, int, int]:
    """What processes use together: CPU seconds with those of children they have waited for, resident bytes, and how
    many of them there are.
    """
    ticks = pages = count = 0
    for pid in pids:
        fields = _stat(pid)
        if len(fields) > 21:
            ticks += sum(map(int, fields[11:15]))
            pages += int(fields[21])
            count += 1
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"), count


def kill(pid: int, ticks: int) -> None:
    """SIGKILL this very process."""
    send(pid, ticks, signal.SIGKILL)


def send(pid: int, ticks: int, signum: int) -> None:
    """Signal this very process, which need not be our child: a pidfd keeps its pid its own between look and signal."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if start_ticks(pid) == ticks:
            signal.pidfd_send_signal(handle, signum)
    except OSError:
        return  # it ended meanwhile, or runs as somebody whom we may not signal
    finally:
        os.close(handle)


def oom_kills() -> int:
    """How many processes the kernel killed for memory so far: in our control group (v2), else on the whole machine."""
    for line in read("/proc/self/cgroup").splitlines():
        if line.startswith(b"0::/") and len(line) > 4:
            events = read(f"/sys/fs/cgroup{os.fsdecode(line[3:])}/memory.events")
            if events:
                return _counter(events, b"oom_kill")
    return _counter(read("/proc/vmstat"), b"oom_kill")


def _counter(text: bytes, name: bytes) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name:
            return int(words[1])
    return 0
