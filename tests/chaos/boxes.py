"""What the chaos tests share: starting the platform again and again, and counting who runs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.platform import Platform
from tests.support.processes import processes_of
from tests.support.raw import get

APPS = Path(__file__).parent / "apps"
PROGRAM = "rememberer.py"


async def started(
    folder: Path, patches: Sequence[str] = (), *, app: str = "boxes.py", env: Mapping[str, str] | None = None
) -> Platform:
    """A platform on the boxes; a broken one where ``patches`` name what is broken."""
    launcher = [sys.executable, str(APPS / "launcher.py"), *patches, "--"]
    if patches:
        return await asyncio.to_thread(Platform, APPS / app, folder, launcher=launcher, env=env)
    return await asyncio.to_thread(Platform, APPS / app, folder, env=env)


async def cut_short(
    folder: Path, luck: random.Random, *, app: str = "boxes.py", env: Mapping[str, str] | None = None
) -> None:
    """A platform that is killed with -9 at some moment of its start, or just after it."""
    command = [str(Path(sysconfig.get_path("scripts")) / "moorings"), "serve", str(APPS / app), "--port", "0"]
    dying = await asyncio.create_subprocess_exec(
        *[*command, "--data-dir", str(folder / "data")],
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    await asyncio.sleep(luck.uniform(0.05, 0.5))
    dying.kill()
    code = await dying.wait()
    assert code == -signal.SIGKILL, f"it ended by itself, with {code}"


def programs(platform: Platform) -> dict[int, psutil.Process]:
    """The containers' programs that run, by pid."""
    found = {}
    for process in processes_of(platform.data):
        try:
            if any(PROGRAM in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except psutil.NoSuchProcess:
            continue
    return found


def supervisors(platform: Platform) -> list[psutil.Process]:
    """The supervisors of the data folder."""
    found = []
    for process in processes_of(platform.data):
        try:
            if "moorings.runtimes.process.supervisor" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


async def ask(platform: Platform, target: str) -> Any:
    """The JSON that the platform answers with."""
    answer = await get(platform.address, target, timeout=60.0)
    assert answer.status == 200, f"{target}: {answer.status} {answer.text()}\n{platform.output}"
    return answer.json()
