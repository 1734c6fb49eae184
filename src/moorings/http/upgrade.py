"""Upgrades: a 101, and what the connection it is sent on becomes (RFC 9110, 7.8 and 15.2.2).

A handler answers an upgrade with an ``UpgradeResponse``, made here for it or received from a container. The server's
connection writes its head and hands the transport over, once, to the response's ``Upgraded``. A response that nobody
sends drops what is behind it, so that no connection is left hanging.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from moorings.clock import Clock
from moorings.errors import BodyUsed
from moorings.http.headers import Headers
from moorings.http.response import Response
from moorings.http.response_head import ResponseHead
from moorings.http.serialize import field_lines, status_line

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST

OnLost = Callable[[Exception | None], object]


class Upgraded(Protocol):
    """The other end of a connection that was upgraded: a tunnel, or code that speaks the protocol."""

    def take_over(
        self, transport: asyncio.Transport, early: bytes, on_lost: OnLost, *, clock: Clock, paused: bool
    ) -> None:
        """The transport is yours now, its protocol included; called once, the head of the 101 is written.

        ``early`` are bytes that came right behind the request. ``paused`` says whether the transport has told its old
        protocol to pause writing. Call ``on_lost`` with what the transport's ``connection_lost`` gives.
        """

    def drop(self) -> None:
        """The 101 will never be sent. Called instead of ``take_over``."""

    def go_away(self) -> None:
        """The platform stops: end politely, if the protocol has a way to. The transport is reset some time later."""


class UpgradeResponse(Response):
    """A 101 Switching Protocols, to be returned by the handler of the request that asked for it.

    ``protocol`` is what is spoken from now on. The headers can be changed like those of any response.
    """

    __slots__ = ("_upgraded", "protocol")

    def __init__(
        self,
        protocol: str,
        upgraded: Upgraded,
        *,
        head: ResponseHead | None = None,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        self.status = 101
        self.protocol = protocol
        self.head = head
        self._upgraded: Upgraded | None = upgraded
        self._message = None
        self._body = None
        self._used = False
        self._headers = Headers(headers) if head is None else None

    @property
    def upgraded(self) -> Upgraded | None:
        """What the connection becomes; None once that has happened."""
        return self._upgraded

    def head_bytes(self) -> bytes:
        """The head as it is sent; a 101 has no framing fields (RFC 9110, 8.6)."""
        protocol = self.protocol.encode("latin-1")
        lines = (status_line(101), *field_lines(self.headers), b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
        return b"".join(lines)

    def release(self) -> Upgraded:
        """Take what the connection becomes. Raises BodyUsed the second time."""
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is None:
            raise BodyUsed("this upgrade has already been answered; a connection can be handed over once")
        return upgraded

    def discard(self) -> None:
        """Nobody will send it. Idempotent."""
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            upgraded.drop()

    def __del__(self) -> None:
        self.discard()


def reset(transport: asyncio.Transport) -> None:
    """Close with RST, so that the other side can't take what it got for a proper end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
