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
from collections.abc import Iterator

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
                self._file = _current()
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
            _check(_libc.setns(self._file, _CLONE_NEWNET))
            try:
                yield
            finally:
                _check(_libc.setns(here, _CLONE_NEWNET))
        finally:
            os.close(here)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)


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
