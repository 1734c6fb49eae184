"""``python -m moorings.runtimes.process.supervisor --dir DATA``: start the supervisor of a data folder.

The process that is started takes the folder's lock, listens, and then forks: its child serves, detached from whoever
started it, and it exits with 0, so that who waits for it can connect at once. It exits with 75 where another
supervisor has the lock, and with 1 after a sentence on stdout where the folder can't be used. Standard error is the
supervisor's log from the start.

Start-up time and memory are the platform's cold start: nothing here imports asyncio, logging, pathlib, dataclasses or
subprocess.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys

# msgspec looks for typing_extensions first, whose import costs as much time and memory as all the rest.
sys.modules.setdefault("typing_extensions", None)  # type: ignore[arg-type]  # None makes an import raise (sys.modules)

from moorings.runtimes.process.loop import Loop  # noqa: E402
from moorings.runtimes.process.paths import Layout  # noqa: E402
from moorings.runtimes.process.service import Service, say  # noqa: E402

LOCKED = 75
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Returns the exit code; in the child, after serving."""
    try:
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        layout = Layout(os.path.abspath(options.pop("--dir")))
        linger = float(options.pop("--linger", "3"))
        if options:
            raise KeyError
    except (KeyError, ValueError):
        print("usage: python -m moorings.runtimes.process.supervisor --dir DATA [--linger SECONDS]")
        return 2
    os.umask(0o022)
    try:
        layout.make()
        lock = _lock(layout.lock)
        if lock is None:
            return LOCKED
        listener = _listen(layout.supervisor)
    except OSError as error:
        print(f"the supervisor can't use {layout.supervisor}: {error.strerror}", flush=True)
        return 1
    if os.fork():
        os._exit(0)
    return _serve(layout, lock, listener, linger)


def _lock(path: str) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _listen(folder: str) -> socket.socket:
    os.chdir(folder)  # a relative address has no trouble with the length of sun_path
    with contextlib.suppress(FileNotFoundError):
        os.unlink("socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind("socket")
    finally:
        os.umask(previous)
        os.chdir("/")
    listener.setblocking(False)
    listener.listen(16)
    return listener


def _serve(layout: Layout, lock: int, listener: socket.socket, linger: float) -> int:
    os.dup2(2, 1)  # whoever started us waits for the end of its output
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    _reset_signals()
    _become_subreaper()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    say(f"supervisor of {layout.data}, process {os.getpid()}")
    Service(layout, listener, Loop(), linger=linger, files=soft).run()
    say("nothing left to do")
    return 0


def _reset_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for signum in signal.valid_signals():
        if signum not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)


def _become_subreaper() -> None:
    """Orphans of our descendants become our children (prctl(2)); elsewhere than on Linux they get away."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
