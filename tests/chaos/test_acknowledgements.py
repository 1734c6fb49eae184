"""No byte that acknowledges a write leaves the platform before the sync that covers it, whichever way it leaves.

The watch is proven on platforms that are broken on purpose: it must find what they send too early.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos import syscalls
from tests.chaos.syscalls import Findings
from tests.support.platform import Platform
from tests.support.raw import Address, Connection, get, request

NOT_HERE = syscalls.why_not()
pytestmark = pytest.mark.skipif(bool(NOT_HERE), reason=NOT_HERE or "traced")

APPS = Path(__file__).parent / "apps"
WAYS = ("head", "rpc", "sql", "error", "chunks", "forward")
CLIENTS = 4
ROUNDS = 3
MARKS_OF = {"chunks": 3}


async def write_marks(client: int, address: Address) -> None:
    """One client: a mark in every way, in rounds."""
    with await Connection.open(address, timeout=60.0) as connection:
        for number in range(ROUNDS):
            for way in WAYS:
                await connection.send(request("GET", f"/{way}/mark-{client}-{way}-{number}-end"))
                answer = await connection.receive()
                assert answer.status == 200, answer.text()


async def watched(folder: Path, patches: Sequence[str] = ()) -> Findings:
    """Run the marks on a platform under strace."""
    trace = folder / "platform" / "trace"
    launcher = [*syscalls.COMMAND, "-o", str(trace), sys.executable, str(APPS / "launcher.py"), *patches, "--"]
    trace.parent.mkdir()
    platform = await asyncio.to_thread(Platform, APPS / "marks.py", folder / "platform", launcher=launcher)
    try:
        await get(platform.address, "/open", timeout=60.0)
        await asyncio.gather(*(write_marks(client, platform.address) for client in range(CLIENTS)))
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
    return syscalls.read(trace)


EXPECTED = frozenset(
    f"mark-{client}-{way}-{number}{chunk}-end"
    for client in range(CLIENTS)
    for number in range(ROUNDS)
    for way in WAYS
    for chunk in ([f"-{n}" for n in range(MARKS_OF[way])] if way in MARKS_OF else [""])
)


async def test_no_acknowledging_byte_leaves_before_the_sync_of_its_write(tmp_path: Path) -> None:
    findings = await watched(tmp_path)
    assert findings.marks == EXPECTED
    assert findings.early == frozenset()


@pytest.mark.parametrize("patch", ["synchronous-off", "gate-open"])
async def test_the_watch_finds_what_a_broken_platform_sends_too_early(tmp_path: Path, patch: str) -> None:
    findings = await watched(tmp_path, [patch])
    assert findings.marks == EXPECTED
    found = {mark.split("-")[2] for mark in findings.early}
    assert found == set(WAYS), f"early acknowledgements were found in {sorted(found)} only"
