"""No acknowledgement leaves the process before the sync that covers its write: watched from outside, call by call."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

ROUNDS = 20

# Writes keys and rows in turn, and acknowledges each on standard output when the gate opens.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from moorings.store import Synchronous
from tests.unit.objects.storing import place

async def main():
    async with place(Path(sys.argv[1]), synchronous=Synchronous(sys.argv[2])) as here:
        storage = here.storage()
        for n in range(int(sys.argv[3])):
            if n % 2:
                storage.put("n", n)
            else:
                storage.sql.exec("CREATE TABLE IF NOT EXISTS t (x)")
                storage.sql.exec("INSERT INTO t VALUES (?)", n)
            await storage.sync()
            os.write(1, b"ack\\n")

asyncio.run(main())
"""

_LINE = re.compile(r"^\d+\s+(?:<\.\.\. )?(\w+)(?:\((\d+)<([^>]*)>)?")


def unsynced_acknowledgements(trace: str) -> tuple[int, int]:
    """How many acknowledgements there are, and how many came while a log held bytes that no finished sync covers."""
    acknowledged = early = 0
    dirty: set[str] = set()
    syncing: dict[str, str] = {}  # thread -> the log that it is syncing
    for line in trace.splitlines():
        thread = line.split(" ", 1)[0]
        found = _LINE.match(line)
        if found is None:
            continue
        call, descriptor, path = found.groups()
        if call in ("pwrite64", "write") and path is not None and path.endswith("-wal"):
            dirty.add(path)
        elif call in ("fdatasync", "fsync"):
            if path is not None and path.endswith("-wal"):
                syncing[thread] = path
                covered = path
            else:
                covered = syncing.get(thread, "")
            if line.rstrip().endswith("= 0") or "= 0 " in line:
                dirty.discard(covered)
        elif call == "write" and descriptor == "1":
            acknowledged += 1
            early += bool(dirty)
    return acknowledged, early


def traced(folder: Path, synchronous: str) -> tuple[int, int]:
    trace = folder / "trace"
    data = folder / "data"
    data.mkdir()
    command = ["strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace)]
    command += [sys.executable, "-c", WRITER, str(data), synchronous, str(ROUNDS)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return unsynced_acknowledgements(trace.read_text())


def test_no_acknowledgement_precedes_the_sync_of_its_write(tmp_path: Path) -> None:
    assert traced(tmp_path, "FULL") == (ROUNDS, 0)


def test_without_synchronous_commits_the_same_watch_finds_early_acknowledgements(tmp_path: Path) -> None:
    acknowledged, early = traced(tmp_path, "OFF")
    assert acknowledged == ROUNDS
    assert early > ROUNDS // 2
