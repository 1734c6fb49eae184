"""What the chaos tests share: starting the platform again and again, and counting who runs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.support.platform import Platform
from tests.support.processes import processes_of
from tests.support.raw import get
from tools.engine import Engine

APPS = Path(__file__).parent / "apps"
PROGRAM = "rememberer.py"
MOORINGS = str(Path(sysconfig.get_path("scripts")) / "moorings")


async def started(
    folder: Path,
    patches: Sequence[str] = (),
    *,
    app: str = "boxes.py",
    env: Mapping[str, str] | None = None,
    engine: Engine | None = None,
) -> Platform:
    """A platform on the boxes; a broken one where ``patches`` name what is broken. With ``engine``, on Docker."""
    launcher = [sys.executable, str(APPS / "launcher.py"), *patches, "--"] if patches else [MOORINGS]
    environ = {**(env or {}), **_env(engine)}
    return await asyncio.to_thread(Platform, APPS / app, folder, launcher=launcher, env=environ, engine=engine)


async def cut_short(
    folder: Path,
    luck: random.Random,
    *,
    app: str = "boxes.py",
    env: Mapping[str, str] | None = None,
    engine: Engine | None = None,
) -> None:
    """A platform that is killed with -9 at some moment of its start, or just after it."""
    command = [MOORINGS, "serve", str(APPS / app), "--port", "0", "--data-dir", str(folder / "data")]
    dying = await asyncio.create_subprocess_exec(
        *[*command, "--runtime", "process" if engine is None else "docker"],
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **(env or {}), **_env(engine)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    await asyncio.sleep(luck.uniform(0.05, 0.5 if engine is None else 1.0))
    dying.kill()
    code = await dying.wait()
    assert code == -signal.SIGKILL, f"it ended by itself, with {code}"


def _env(engine: Engine | None) -> dict[str, str]:
    return {} if engine is None else {"DOCKER_HOST": engine.host, "BOXES": "docker"}


class Program(Protocol):
    """A container's program that runs."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, behind the platform's back."""


@dataclass(frozen=True)
class OnEngine:
    """One that runs on Docker, by the id of its container."""

    engine: Engine
    id: str

    def send_signal(self, sig: int) -> None:
        self.engine.ask("POST", f"/containers/{self.id}/kill?signal={int(sig)}")


def programs(platform: Platform) -> dict[str, Program]:
    """The containers' programs that run, by what they answer when they are asked who they are."""
    found: dict[str, Program] = {}
    if platform.engine is not None:
        for each in platform.docker_containers():
            if each["State"] == "running":
                found[each["Id"][:12]] = OnEngine(platform.engine, each["Id"])
        return found
    for process in processes_of(platform.data):
        try:
            if any(PROGRAM in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found[str(process.pid)] = process
        except psutil.NoSuchProcess:
            continue
    return found


def remains(platform: Platform) -> int:
    """How many containers there are, those that never ran or have ended included."""
    return len(programs(platform)) if platform.engine is None else len(platform.docker_containers())


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
