"""What the queue consumer promises, over sockets and the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from tests.support.platform import Mode, Platform
from tests.support.raw import exchange, get, request
from tests.support.waiting import eventually

WORKER = Path(__file__).with_name("worker.py")


async def send(platform: Platform, job_id: str, text: str, *, failures: int = 0) -> None:
    job = json.dumps({"job_id": job_id, "text": text, "failures": failures})
    answer = await exchange(platform.address, request("POST", "/", body=job.encode()), method="POST")
    assert answer.status == 202, answer.body


async def results(platform: Platform, job_id: str) -> Any:
    return (await get(platform.address, f"/{job_id}")).json()


async def until_done(platform: Platform, job_id: str, done: set[str]) -> Any:
    async def there() -> Any:
        found = await results(platform, job_id)
        return found if set(found["results"]) >= done else None

    return await eventually(there, f"{done} are done for {job_id}", within=20.0)


async def queue(platform: Platform, *arguments: str) -> Any:
    """``moorings queue ... --json``."""
    command = [str(Path(sysconfig.get_path("scripts")) / "moorings"), "queue", *arguments]
    command += ["--json", "--data-dir", str(platform.data)]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


async def test_each_job_is_processed_by_the_container_of_its_name(platform: Platform) -> None:
    for name in ("alice", "bob"):
        for text in ("one", "two"):
            await send(platform, name, f"{text} of {name}")
    alice = await until_done(platform, "alice", {"ONE OF ALICE", "TWO OF ALICE"})
    bob = await until_done(platform, "bob", {"ONE OF BOB", "TWO OF BOB"})
    assert alice["results"] == ["ONE OF ALICE", "TWO OF ALICE"]
    assert alice["process"] != bob["process"]


async def test_a_job_that_fails_is_retried_and_one_that_always_does_waits_among_the_dead(platform: Platform) -> None:
    await send(platform, "carol", "flaky", failures=2)
    await send(platform, "carol", "broken", failures=4)
    found = await until_done(platform, "carol", {"FLAKY"})
    assert found["attempts"]["flaky"] == 3

    async def dead() -> Any:
        return await queue(platform, "peek", "jobs-dead")

    [letter] = await eventually(dead, "the broken job is dead")
    assert letter["body"]["text"] == "broken"
    assert letter["source"] == "jobs"
    assert (await results(platform, "carol"))["attempts"]["broken"] == 4

    assert (await queue(platform, "retry-dlq", "jobs-dead"))["moved"] == {"jobs": 1}
    await until_done(platform, "carol", {"FLAKY", "BROKEN"})
    assert await dead() == []


async def test_jobs_that_were_taken_are_done_after_the_platform_was_killed(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "kept")]
    first = Platform(WORKER, tmp_path / "first", mode=Mode.SERVE, options=data)
    try:
        for number in range(20):
            await send(first, "dave", f"job {number}")
        first.crash()
        with Platform(WORKER, tmp_path / "second", mode=Mode.SERVE, options=data) as second:
            await until_done(second, "dave", {f"JOB {number}" for number in range(20)})
    finally:
        first.kill()
