"""What the processing workflow promises, over sockets."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from tests.support.platform import Mode, Platform
from tests.support.raw import exchange, get, request
from tests.support.waiting import eventually

WORKER = Path(__file__).with_name("worker.py")


async def create(platform: Platform, job_id: str, data: str) -> None:
    body = json.dumps({"job_id": job_id, "data": data}).encode()
    answer = await exchange(platform.address, request("POST", "/", body=body), method="POST")
    assert (answer.status, answer.json()) == (202, {"id": job_id}), answer.body


async def reaches(platform: Platform, job_id: str, status: str) -> Any:
    async def there() -> Any:
        found = (await get(platform.address, f"/{job_id}")).json()
        return found if found["status"] == status else None

    return await eventually(there, f"{job_id} is {status}", within=20.0)


async def test_a_job_is_processed_once_although_the_platform_is_killed_on_the_way(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "kept")]
    first = Platform(WORKER, tmp_path / "first", mode=Mode.SERVE, options=data)
    try:
        await create(first, "job", "hello")
        await reaches(first, "job", "waiting")
        first.crash()
        with Platform(WORKER, tmp_path / "second", mode=Mode.SERVE, options=data) as second:
            ended = await reaches(second, "job", "complete")
            assert ended["output"] == {"result": "HELLO", "asked": 1}
            assert [step["name"] for step in ended["steps"]] == ["start", "process", "cool down"]
    finally:
        first.kill()


async def test_the_command_line_shows_and_moves_instances(platform: Platform) -> None:
    def workflow(*arguments: str) -> Any:
        command = [str(Path(sysconfig.get_path("scripts")) / "moorings"), "workflow", *arguments]
        command += ["--data-dir", str(platform.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    params = json.dumps({"job_id": "made", "data": "tea"})
    assert workflow("create", "ProcessingWorkflow", params, "--id", "made", "--json") == {"id": "made"}
    await reaches(platform, "made", "waiting")
    workflow("pause", "ProcessingWorkflow", "made")
    assert [each["status"] for each in workflow("ls", "--json")] == ["paused"]
    workflow("resume", "ProcessingWorkflow", "made")
    await reaches(platform, "made", "complete")
    shown = workflow("describe", "ProcessingWorkflow", "made")
    assert all(name in shown for name in ("start", "process", "cool down", "complete"))
