"""Host ports for containers: which to give out, and whose listener answers on one.

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


# --- whose listener ---------------------------------------------------------------------------------------------------

# Local addresses as /proc/net/tcp{,6} writes them, on little- and on big-endian machines, in the order in which the
# kernel prefers their listeners for a connection to 127.0.0.1.
_TIERS = (
    frozenset({b"0100007F", b"7F000001", b"0000000000000000FFFF00000100007F", b"00000000000000000000FFFF7F000001"}),
    frozenset({b"00000000"}),
    frozenset({b"0" * 32}),
)
_LISTEN = b"0A"


def listeners(port: int) -> set[str]:
    """The sockets (as ``socket:[inode]``) that would accept a connection to 127.0.0.1:port; empty where nobody
    listens.
    """
    wanted = f":{port:04X}".encode()
    found: tuple[set[str], ...] = (set(), set(), set())
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for address, inode in _listening(table):
            if address.endswith(wanted):
                for tier, addresses in zip(found, _TIERS, strict=True):
                    if address[:-5] in addresses:
                        tier.add(f"socket:[{inode.decode()}]")
    return next((tier for tier in found if tier), set())


def _listening(table: str) -> Iterable[tuple[bytes, bytes]]:
    """Local address and inode of the listening sockets: the kernel lists them before all others (tcp_seq_next)."""
    try:
        file = open(table, "rb")  # noqa: SIM115 - closed by the with statement below; only the opening may fail
    except OSError:
        return
    with file:
        file.readline()
        for line in file:
            fields = line.split(None, 10)
            if len(fields) < 10 or fields[3] != _LISTEN:
                return
            yield fields[1], fields[9]


def holds(pid: int, sockets: set[str]) -> bool | None:
    """Whether a process has one of these sockets open; None where that may not be seen."""
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except PermissionError:
        return None
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.readlink(f"{folder}/{descriptor}") in sockets:
                return True
        except OSError:
            continue
    return False
