"""Whose listener is behind a port.

The kernel is asked through netlink (sock_diag(7)), which costs a quarter of a millisecond however many connections
there are; where that is not to be had, the tables of /proc are read, which costs milliseconds.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

_LOOPBACK = bytes([127, 0, 0, 1])
# Local addresses in the order in which the kernel prefers their listeners for a connection to 127.0.0.1.
_TIERS = (
    frozenset({_LOOPBACK, bytes(10) + b"\xff\xff" + _LOOPBACK}),
    frozenset({bytes(4)}),
    frozenset({bytes(16)}),
)

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_LISTEN_STATE = 10
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORT = struct.Struct("!H")
_INODE = struct.Struct("=I")
_INODE_OFFSET = 68  # in struct inet_diag_msg


def listeners(port: int) -> set[str]:
    """The sockets (as ``socket:[inode]``) that would accept a connection to 127.0.0.1:port; may be none."""
    try:
        found = [*_ask_kernel(socket.AF_INET, port), *_ask_kernel(socket.AF_INET6, port)]
    except (OSError, struct.error):
        found = [*_read_table("/proc/net/tcp", port), *_read_table("/proc/net/tcp6", port)]
    for addresses in _TIERS:
        tier = {f"socket:[{inode}]" for address, inode in found if address in addresses}
        if tier:
            return tier
    return set()


def _ask_kernel(family: int, port: int) -> Iterator[tuple[bytes, int]]:
    """Local address and inode of each socket that listens on a port. Raises OSError where the kernel does not tell."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN_STATE) + _PORT.pack(port) + bytes(46)
    with socket.socket(getattr(socket, "AF_NETLINK", -1), socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(1.0)
        asked.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = asked.recv(65536)
            while data:
                length, kind, _, _, _ = _HEADER.unpack_from(data)
                if kind == _DONE:
                    return
                if kind == _ERROR or length < _HEADER.size:
                    raise OSError("sock_diag is not available")
                message = data[_HEADER.size : length]
                data = data[(length + 3) & ~3 :]
                if _PORT.unpack_from(message, 4)[0] == port:
                    address = message[8:12] if message[0] == socket.AF_INET else message[8:24]
                    yield address, _INODE.unpack_from(message, _INODE_OFFSET)[0]


def _read_table(table: str, port: int) -> Iterator[tuple[bytes, int]]:
    """The same from /proc/net/tcp or tcp6 (proc(5)), which have all listening sockets before all others."""
    wanted = f"{port:04X}".encode()
    for line in _lines(table):
        fields = line.split(None, 10)
        if len(fields) < 10 or fields[3] != b"0A":
            return
        address, _, local_port = fields[1].partition(b":")
        if local_port == wanted:
            yield _network_order(bytes.fromhex(address.decode("ascii"))), int(fields[9])


def _lines(table: str) -> Iterable[bytes]:
    try:
        with open(table, "rb") as file:
            return file.readlines()[1:]
    except OSError:
        return []


def _network_order(address: bytes) -> bytes:
    """The tables print an address as numbers of 32 bits, in the order of the machine."""
    if sys.byteorder == "big":
        return address
    return b"".join(address[start : start + 4][::-1] for start in range(0, len(address), 4))


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
