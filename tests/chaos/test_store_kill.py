"""A writer that is killed with -9 at any moment has stored everything it acknowledged, and nothing by halves."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moorings.clock import SystemClock
from moorings.store import Migration, SqliteStore

STEP = Migration("test", 1, ("CREATE TABLE item (owner INTEGER, k INTEGER, v INTEGER, PRIMARY KEY (owner, k))",))
WRITERS = 32

# Each owner writes pairs (k and -k, in one turn), and acknowledges a pair on standard output once its commit is done.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from moorings.clock import SystemClock
from moorings.store import DataFolder, SqliteStore
from tests.chaos.test_store_kill import STEP, WRITERS

PUT = "INSERT INTO item (owner, k, v) VALUES (?, ?, ?)"

async def main():
    folder = DataFolder.open(Path(sys.argv[1]), started_at=0.0)
    store = await SqliteStore.open(folder.path, migrations=[STEP], clock=SystemClock())

    async def write(owner):
        group = store.group(str(owner))
        [(last,)] = await store.read("SELECT coalesce(max(k), 0) FROM item WHERE owner = ?", (owner,))
        while True:
            last += 1
            group.write(PUT, (owner, last, last))
            await group.write(PUT, (owner, -last, last))
            os.write(1, b"%d %d\\n" % (owner, last))

    await asyncio.gather(*map(write, range(WRITERS)))

asyncio.run(main())
"""


@pytest.mark.timeout(300)
def test_what_was_acknowledged_survives_kill_9_and_no_pair_is_torn(tmp_path: Path, kills: int) -> None:
    acknowledged = dict.fromkeys(range(WRITERS), 0)
    luck = random.Random(7)
    for _ in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert writer.stdout is not None
        for _ in range(luck.randint(50, 5000)):
            owner, last = map(int, writer.stdout.readline().split())
            acknowledged[owner] = last
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:
            if line.endswith(b"\n"):
                owner, last = map(int, line.split())
                acknowledged[owner] = last
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        asyncio.run(check(tmp_path, acknowledged))


async def check(folder: Path, acknowledged: dict[int, int]) -> None:
    store = await SqliteStore.open(folder, migrations=[STEP], clock=SystemClock())
    for owner, last in acknowledged.items():
        rows = await store.read("SELECT k, v FROM item WHERE owner = ? ORDER BY k", (owner,))
        stored = len(rows) // 2
        assert stored >= last
        assert rows == [(-k, k) for k in range(stored, 0, -1)] + [(k, k) for k in range(1, stored + 1)]
    await store.close()
