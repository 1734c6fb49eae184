"""Waiting for something to become true, with a deadline instead of a fixed sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

STEP = 0.01


def wait_until(probe: Callable[[], T], what: str, *, within: float = 10.0) -> T:
    """The first true value of ``probe()``; AssertionError naming ``what`` after ``within`` seconds. Blocks."""
    deadline = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(STEP)
    return value


async def eventually(probe: Callable[[], Awaitable[T]], what: str, *, within: float = 10.0) -> T:
    """The first true value of ``await probe()``; AssertionError naming ``what`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (value := await probe()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(STEP)
    return value
