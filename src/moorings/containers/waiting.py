"""Waiting for futures with a budget from the platform's clock, without ever cancelling what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moorings.clock import Clock


async def first_of(clock: Clock, futures: Sequence[asyncio.Future[Any]], timeout: float | None = None) -> None:
    """Return when one of the futures is done, or after ``timeout`` seconds."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    for future in futures:
        future.add_done_callback(end)
    timer = None if timeout is None else clock.call_later(timeout, end)
    try:
        await over
    finally:
        if timer is not None:
            timer.cancel()
        for future in futures:
            future.remove_done_callback(end)


async def wait_for(clock: Clock, future: asyncio.Future[Any], timeout: float) -> tuple[bool, Any]:
    """``(True, its result)``, or ``(False, None)`` when the time is over. Raises what the future raised."""
    await first_of(clock, [future], timeout)
    return (True, future.result()) if future.done() else (False, None)
