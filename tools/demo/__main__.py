"""Runs the proofs one after the other; exit code 0 only where each was proved and nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

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


async def on_stage(stage: Stage, proof: Proof) -> str:
    """Prove on the proof's own platform."""
    return await proof.prove(await asyncio.to_thread(stage.platform, proof))


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
        results = [await attempt(board, row, on_stage(stage, proof)) for row, proof in zip(rows, PROOFS, strict=True)]
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
