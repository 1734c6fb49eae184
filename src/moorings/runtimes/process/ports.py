"""Host ports for containers.

Ports come from outside the kernel's ephemeral range, where an outgoing connection could take one between its choice
and the program's bind. They are given out in turn from a random start, so that a port that was just given back rests
a while.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

from moorings.runtimes.process.proc import read

LOWEST = 10_000
_AVOIDED = frozenset({10_080})  # browsers refuse it (Fetch standard, 2.9 port blocking)


class NoPortFree(Exception):
    """Every port of the range is taken."""


class Ports:
    """Gives out host ports, each to one container at a time."""

    __slots__ = ("_family", "_next", "_ranges", "_size", "_used")

    def __init__(self, ephemeral: tuple[int, int] | None = None) -> None:
        low, high = ephemeral or ephemeral_range()
        self._ranges = [each for each in (range(LOWEST, low), range(max(high + 1, LOWEST), 65_536)) if each]
        self._ranges = self._ranges or [range(20_000, 30_000)]
        self._size = sum(map(len, self._ranges))
        self._next = int.from_bytes(os.urandom(4), "little") % self._size
        self._used: set[int] = set()
        self._family = _family()

    def take(self) -> int:
        """A port that nobody listens on, on any address. Raises NoPortFree."""
        for _ in range(self._size):
            port = self._candidate(self._next)
            self._next = (self._next + 1) % self._size
            if port not in self._used and port not in _AVOIDED and self._is_free(port):
                self._used.add(port)
                return port
        raise NoPortFree

    def _candidate(self, index: int) -> int:
        for each in self._ranges:
            if index < len(each):
                return each[index]
            index -= len(each)
        raise IndexError(index)

    def give_back(self, ports: Iterable[int]) -> None:
        """The containers that had these are gone."""
        self._used.difference_update(ports)

    def _is_free(self, port: int) -> bool:
        # A dual-stack wildcard bind conflicts with a listener on any address of either family.
        with socket.socket(self._family, socket.SOCK_STREAM) as probe:
            try:
                if self._family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                probe.bind(("", port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
        return True


def ephemeral_range() -> tuple[int, int]:
    """The ports that the kernel gives to outgoing connections (ip(7))."""
    words = read("/proc/sys/net/ipv4/ip_local_port_range").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (32_768, 60_999)


def _family() -> socket.AddressFamily:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("", 0))
    except OSError:
        return socket.AF_INET
    return socket.AF_INET6
