"""What the media pipeline promises, over sockets and the command line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from tests.support.platform import Mode, Platform
from tests.support.raw import exchange, get, request
from tests.support.waiting import eventually

WORKER = Path(__file__).with_name("worker.py")


async def upload(platform: Platform, job_id: str, **more: Any) -> None:
    job = json.dumps({"job_id": job_id, "source": f"{job_id}.mov", **more})
    answer = await exchange(platform.address, request("POST", "/", body=job.encode()), method="POST")
    assert answer.status == 202, answer.body


async def kept(platform: Platform, job_id: str) -> Any:
    async def there() -> Any:
        answer = await get(platform.address, f"/{job_id}")
        return answer.json() if answer.status == 200 else None

    return await eventually(there, f"{job_id} is in the library", within=20.0)


async def moorings(platform: Platform, *arguments: str) -> Any:
    """``moorings ... --json``."""
    command = [str(Path(sysconfig.get_path("scripts")) / "moorings"), *arguments]
    command += ["--json", "--data-dir", str(platform.data)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


async def test_jobs_end_in_the_library_or_among_the_dead(platform: Platform) -> None:
    await upload(platform, "broken", broken=True)
    await upload(platform, "not an id")
    await upload(platform, "holiday")
    await upload(platform, "wedding", failures=2)
    holiday, wedding = await kept(platform, "holiday"), await kept(platform, "wedding")
    assert holiday["sha256"] == hashlib.sha256(b"holiday.mov").hexdigest()
    assert (holiday["encoded"], holiday["failed"]) == (["holiday"], [])
    assert (wedding["encoded"], wedding["failed"]) == (["wedding"], ["wedding", "wedding"])
    assert holiday["process"] != wedding["process"], "each job has a container of its own"

    async def dead() -> Any:
        letters = await moorings(platform, "queue", "peek", "uploads-dead")
        return {letter["body"]["job_id"]: letter for letter in letters} if len(letters) == 2 else None

    letters = await eventually(dead, "two jobs are dead", within=20.0)
    assert "broken.mov is no film" in letters["broken"]["body"]["error"], "the workflow gave up on it"
    assert letters["not an id"]["source"] == "uploads", "no workflow could be made of it"
    assert (await get(platform.address, "/broken")).status == 404

    async def errored() -> bool:
        instances = await moorings(platform, "workflow", "ls")
        return ("broken", "errored") in {(each["id"], each["status"]) for each in instances}

    await eventually(errored, "its instance has failed", within=20.0)


async def test_jobs_that_were_taken_are_encoded_after_the_platform_was_killed(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "kept")]
    first = Platform(WORKER, tmp_path / "first", mode=Mode.SERVE, options=data)
    try:
        for number in range(4):
            await upload(first, f"film-{number}")
        first.crash()
        with Platform(WORKER, tmp_path / "second", mode=Mode.SERVE, options=data) as second:
            for number in range(4):
                assert (await kept(second, f"film-{number}"))["sha256"]
    finally:
        first.kill()
