from __future__ import annotations

import asyncio

from moorings.clock import ManualClock
from moorings.http.pacing import BURST, PACE, Pacing


async def enter_all(pacing: Pacing, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(pacing.enter()) for _ in range(count)]
    await ManualClock.settle()
    return tasks


async def test_a_burst_enters_at_once_and_the_rest_waits_in_order() -> None:
    pacing = Pacing(ManualClock())
    tasks = await enter_all(pacing, BURST + 2)
    assert [task.done() for task in tasks] == [True] * BURST + [False, False]
    pacing.failed()
    await ManualClock.settle()
    assert [task.done() for task in tasks[BURST:]] == [True, False]
    pacing.failed()
    await asyncio.gather(*tasks)


async def test_a_connection_holds_its_place_until_it_was_of_use_once() -> None:
    pacing = Pacing(ManualClock())
    tasks = await enter_all(pacing, BURST + 2)
    pacing.made("connection")
    await ManualClock.settle()
    assert not tasks[BURST].done()
    pacing.of_use("connection")
    pacing.of_use("connection")
    await ManualClock.settle()
    assert [task.done() for task in tasks[BURST:]] == [True, False]
    tasks[-1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_connection_that_is_not_answered_on_holds_it_for_a_moment_only() -> None:
    clock = ManualClock()
    pacing = Pacing(clock)
    tasks = await enter_all(pacing, BURST + 1)
    pacing.made("slow")
    await clock.advance(PACE)
    assert tasks[-1].done()


async def test_one_that_is_cancelled_takes_nobody_s_turn() -> None:
    pacing = Pacing(ManualClock())
    tasks = await enter_all(pacing, BURST + 2)
    pacing.failed()
    tasks[BURST].cancel()
    await ManualClock.settle()
    assert tasks[-1].done()
