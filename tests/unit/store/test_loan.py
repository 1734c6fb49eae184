"""A saturated event loop and the threads that need the interpreter lock beside it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import uvloop

from moorings.clock import SystemClock
from moorings.store import Migration, SqliteStore
from moorings.store.loan import Loan

STEP = Migration("test", 1, ("CREATE TABLE item (k INTEGER PRIMARY KEY)",))
COMMITS = 30
TURNS = 60_000


async def turns_while_committing(folder: Path) -> int:
    """How many turns of a loop that never rests it takes to make some commits one after the other."""
    store = await SqliteStore.open(folder, migrations=[STEP], clock=SystemClock())
    committed = False
    turns = 0

    async def saturate() -> None:
        nonlocal turns
        while not committed and turns < TURNS:
            turns += 1
            sum(range(10_000))
            await asyncio.sleep(0)

    busy = asyncio.create_task(saturate())
    group = store.group("g")
    for k in range(COMMITS):
        await group.write("INSERT INTO item (k) VALUES (?)", (k,))
    committed = True
    await busy
    await store.close()
    return turns


def test_commits_go_on_beside_a_loop_that_never_rests(tmp_path: Path) -> None:
    assert uvloop.run(turns_while_committing(tmp_path)) < TURNS


async def test_lending_ends_as_soon_as_the_thread_returns_the_lock() -> None:
    loan = Loan(asyncio.get_running_loop())
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loan.waiting()
        loop.call_soon_threadsafe(done.set)
        loan.returned()
        loan.returned()  # twice is once

    loan.begin()
    thread = threading.Thread(target=work)
    thread.start()
    loan._lend()
    await done.wait()
    loan.end()
    loan.end()
    thread.join()


async def test_lending_to_a_thread_that_never_returns_it_ends_too() -> None:
    loan = Loan(asyncio.get_running_loop())
    loan.begin()
    loan._lend()
    loan.end()
