"""Network namespaces: an Engine in one of its own has its own bridges, addresses and firewall rules.

Two Engines in one namespace flush each other's iptables chains when they start. Whoever wants to dial a container of a
private Engine has to be in its namespace: a thread changes into it with ``NetworkNamespace.inside``, and so do the
threads and processes that it makes meanwhile. Sockets stay where they were made. A namespace ends with the last
process, socket or ``NetworkNamespace`` in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkNamespace:
    """A new network namespace with its loopback interface up. Raises PermissionError where that needs privileges."""

    def __init__(self) -> None:
        here = _current()
        try:
            _check(_libc.unshare(_CLONE_NEWNET))
            try:
                self.file = _current()
                _loopback_up()
            finally:
                _check(_libc.setns(here, _CLONE_NEWNET))
        finally:
            os.close(here)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in the namespace meanwhile."""
        here = _current()
        try:
            _check(_libc.setns(self.file, _CLONE_NEWNET))
            try:
                yield
            finally:
                _check(_libc.setns(here, _CLONE_NEWNET))
        finally:
            os.close(here)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.file)


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", b"lo", 0)
        _, flags = struct.unpack("16sH22x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


@contextlib.contextmanager
def outside(network: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[tuple[str, int]]:
    """A service that is on another machine as seen from ``network``: an address behind a link. Takes iproute2.

    Yields where it accepts connections; the calling thread is inside ``network``.
    """
    beyond = NetworkNamespace()
    try:
        with network():
            _ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
            _ip("link", "set", "out1", "netns", f"/proc/self/fd/{beyond.file}", keep=beyond.file)
            _ip("address", "add", "203.0.113.1/24", "dev", "out0")
            _ip("link", "set", "out0", "up")
        with beyond.inside():
            _ip("address", "add", "203.0.113.2/24", "dev", "out1")
            _ip("link", "set", "out1", "up")
            listening = socket.create_server(("203.0.113.2", 8000))
        with listening:
            yield "203.0.113.2", 8000
        with network():
            _ip("link", "delete", "out0")
    finally:
        beyond.close()


def _ip(*arguments: str, keep: int | None = None) -> None:
    subprocess.run(["ip", *arguments], check=True, pass_fds=() if keep is None else (keep,))
