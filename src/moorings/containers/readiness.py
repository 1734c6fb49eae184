"""Waiting for a port to accept.

Polled from 1 ms on, each pause a sixteenth of the time waited so far and 50 ms at most, so a port is seen at most
about 6 % later than it opens. The container's exit ends the wait at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any

from moorings.clock import Clock
from moorings.containers.waiting import first_of
from moorings.runtimes.base import Address

FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.05


class Outcome(Enum):
    """How the wait ended."""

    READY = auto()
    EXITED = auto()
    TIMED_OUT = auto()


def next_pause(waited: float) -> float:
    """How long to pause after ``waited`` seconds without success."""
    return min(LONGEST_PAUSE, max(FIRST_PAUSE, waited / 16))


async def wait_until_ready(
    check: Callable[[], Awaitable[bool]], *, exited: asyncio.Future[Any], timeout: float, clock: Clock
) -> Outcome:
    """Call ``check`` until it is true, ``exited`` is done or ``timeout`` seconds have passed."""
    begin = clock.monotonic()
    while not exited.done():
        if await _checked(check, exited):
            return Outcome.READY
        waited = clock.monotonic() - begin
        if waited >= timeout:
            return Outcome.EXITED if exited.done() else Outcome.TIMED_OUT
        await first_of(clock, [exited], min(next_pause(waited), timeout - waited))
    return Outcome.EXITED


async def _checked(check: Callable[[], Awaitable[bool]], exited: asyncio.Future[Any]) -> bool:
    """The outcome of a check, unless the container exits first: nothing may answer for the address it had."""
    checking = asyncio.ensure_future(check())
    try:
        await asyncio.wait([checking, exited], return_when=asyncio.FIRST_COMPLETED)
        return checking.done() and checking.result()
    finally:
        if not checking.done():
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)


async def accepts(address: Address) -> bool:
    """Whether something accepts TCP connections there."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(probe, (address.host, address.port))
    except OSError:
        return False
    finally:
        probe.close()
    return True
