"""Runs the proofs one after the other; exit code 0 only where each was proved and nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

from tests.support.platform import Platform
from tools.demo.proofs import PROOFS, Proof
from tools.demo.stage import Stage
from tools.demo.table import Board, Row, Verdict

LIMIT = 20.0
"""Seconds that a proof may take."""


async def attempt(board: Board, row: Row, proof: Awaitable[str]) -> bool:
    """Run one proof and show how it went."""
    board.show(row, Verdict.RUNNING)
    try:
        async with asyncio.timeout(LIMIT):
            figures = await proof
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a proof is its row's result
        board.show(row, Verdict.FAILED, str(error) or type(error).__name__)
        return False
    board.show(row, Verdict.PROVED, figures)
    return True


async def on_stage(proof: Proof, platform: asyncio.Future[Platform]) -> str:
    """Prove on the proof's own platform, as soon as that is there."""
    return await proof.prove(await asyncio.shield(platform))


async def open_stage(stage: Stage, platforms: Sequence[asyncio.Future[Platform]]) -> None:
    """Start the platform of each proof, one after the other, while the proofs before it are made."""
    for proof, platform in zip(PROOFS, platforms, strict=True):
        if platform.cancelled():
            return
        try:
            started = await asyncio.to_thread(stage.platform, proof)
        except Exception as error:  # noqa: BLE001 - it is raised by the proof that waits for the platform
            if not platform.cancelled():
                platform.set_exception(error)
        else:
            if not platform.cancelled():
                platform.set_result(started)


async def prove_all(stage: Stage, board: Board, rows: Sequence[Row]) -> list[bool]:
    """Which were proved. When it is over, however it ends, no platform is being started."""
    loop = asyncio.get_running_loop()
    platforms: list[asyncio.Future[Platform]] = [loop.create_future() for _ in PROOFS]
    opening = asyncio.create_task(open_stage(stage, platforms), name="platforms")
    try:
        return [
            await attempt(board, row, on_stage(proof, platform))
            for row, proof, platform in zip(rows, PROOFS, platforms, strict=True)
        ]
    finally:
        for platform in platforms:
            platform.cancel()  # nobody waits for those that are still to come
        await opening


async def demo() -> bool:
    """Whether everything was proved."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    rows = [Row(proof.pattern, proof.promise) for proof in PROOFS]
    end = Row("Stopping", "nothing is left behind")
    with (
        tempfile.TemporaryDirectory(prefix="moorings-demo-") as folder,
        Stage(Path(folder)) as stage,
        Board([*rows, end]) as board,
    ):
        results = await prove_all(stage, board, rows)
        results.append(await attempt(board, end, stage.clear()))
    return all(results)


def main() -> int:
    """The exit code."""
    began = time.monotonic()
    try:
        proved = asyncio.run(demo())
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; everything was stopped", file=sys.stderr)
        return 130
    print(f"{'All proved' if proved else 'NOT everything was proved'} in {time.monotonic() - began:.0f} s.")
    return 0 if proved else 1


if __name__ == "__main__":
    sys.exit(main())
