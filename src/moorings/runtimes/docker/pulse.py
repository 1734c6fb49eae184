"""Seeing that an Engine is stuck: one that accepts connections and answers nothing (stopped, swapped out, deadlocked).

An Engine that dies ends its connections; one that is stuck leaves every request waiting. It is asked for a sign of life
now and then, and counts as away after ``MISSES`` questions in a row without an answer: with one, a handler that blocks
the event loop for a while would look the same.
"""

from __future__ import annotations

import asyncio

from moorings.clock import Clock
from moorings.runtimes.docker.engine import Engine, Unreachable

PAUSE = 2.0  # seconds between two questions
PATIENCE = 2.5  # seconds that an answer may take
MISSES = 2


async def stopped(engine: Engine, clock: Clock) -> None:
    """Return when an Engine answers no more."""
    missed = 0
    while missed < MISSES:
        if not missed:
            await clock.sleep(PAUSE)
        try:
            async with asyncio.timeout(PATIENCE):
                await engine.ping()
        except TimeoutError:
            missed += 1
        except Unreachable:
            missed = 0  # it has gone: its streams end
        else:
            missed = 0
