"""Whether the other end of a connection that nobody reads from is still there.

The end of a connection is found by reading. While reading is paused the kernel alone knows it, and says so on the
socket; asking costs a system call, so it is done now and then, and only while reading stays paused.
"""

from __future__ import annotations

import asyncio
import platform
import socket
from typing import Final

LOOK_EVERY: Final = 1.0  # seconds between two looks while reading is paused

# The first byte of Linux's struct tcp_info is the state of the connection (include/net/tcp_states.h).
_CLOSE: Final = 7  # reset, or timed out
_CLOSE_WAIT: Final = 8  # the peer has closed its sending side
_LEFT: Final = frozenset((_CLOSE, _CLOSE_WAIT))
_HAS_STATE: Final = platform.system() == "Linux"


def peer_left(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed or reset the connection, as far as the kernel knows.

    Bytes that it sent before may still wait to be read. False where it can't be told: not TCP, or, for a peer that
    closed without a reset, not Linux.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            return True
        return _HAS_STATE and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT
    except OSError:
        return False
