"""Programs outlive the platform: kill -9 costs them neither their memory nor a line of their output.

And those that end, or are taken down with their supervisor, are not forgotten.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.boxes import ask, cut_short, programs, started, supervisors
from tests.support.platform import Platform
from tests.support.waiting import eventually

BOXES = 50
DYING = 5


def lines(platform: Platform, name: str) -> list[str]:
    """What the supervisor has written of a box's output."""
    text = (platform.data / "process" / "logs" / "Box" / name / "current.log").read_text()
    return [line.split(" ", 3)[3] for line in text.splitlines() if " stdout F " in line]


def numbered(platform: Platform, name: str) -> list[int]:
    """The numbers of the box's lines."""
    return [int(line.removeprefix("line ")) for line in lines(platform, name) if line.startswith("line ")]


async def ask_all(platform: Platform, names: list[str]) -> dict[str, Any]:
    """One request to each box."""
    return dict(zip(names, await asyncio.gather(*(ask(platform, f"/{name}") for name in names)), strict=True))


@pytest.mark.timeout(600)
async def test_fifty_programs_keep_pid_memory_and_every_line_across_kill_9(tmp_path: Path, kills: int) -> None:
    names = [f"box-{number}" for number in range(BOXES)]
    luck = random.Random(3)
    platform = await started(tmp_path)
    try:
        before = await ask_all(platform, names)
        for _ in range(min(kills, 10)):
            platform.crash()
            await lines_to_come(platform, names)
            await cut_short(tmp_path, luck)
            platform = await started(tmp_path)
            after = await ask_all(platform, names)
            for name in names:
                assert after[name] == {**before[name], "asked": before[name]["asked"] + 1}
            assert set(programs(platform)) == {answer["pid"] for answer in after.values()}
            before = after
        await asyncio.to_thread(platform.stop)
        for name in names:
            printed = lines(platform, name)
            last = int(printed[-1].removeprefix("last "))
            assert numbered(platform, name) == list(range(last + 1)), f"lines of {name} are missing"
    finally:
        platform.kill()


async def lines_to_come(platform: Platform, names: list[str]) -> None:
    """Wait until every box has printed three more lines, with nobody there but the supervisor."""
    seen = {name: len(numbered(platform, name)) for name in names}

    async def came() -> bool:
        return all(len(numbered(platform, name)) >= seen[name] + 3 for name in names)

    await eventually(came, "every box goes on printing without the platform", within=30.0)


async def test_what_ended_while_the_platform_was_down_has_its_exit_code_told(tmp_path: Path) -> None:
    names = [f"box-{number}" for number in range(DYING)]
    platform = await started(tmp_path)
    try:
        before = await ask_all(platform, names)
        running = programs(platform)
        platform.crash()
        for number, name in enumerate(names):
            running[before[name]["pid"]].send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)

        async def gone() -> bool:
            return not programs(platform)

        await eventually(gone, "the programs are gone")
        platform = await started(tmp_path)
        for number, name in enumerate(names):
            code, how = (137, "signal") if number % 2 else (7, "exit")

            async def told(name: str = name) -> Any:
                history = await ask(platform, f"/{name}/history")
                return history if history[-1] != "start" else None

            assert await eventually(told, "on_exit was run") == ["start", f"exit {code} {how}"]
            state = await ask(platform, f"/{name}/state")
            assert (state["status"], state["exit_code"]) == ("stopped_with_code", code)
        after = await ask_all(platform, names)
        assert all(after[name]["asked"] == 1 for name in names)
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


async def test_a_supervisor_that_is_killed_takes_its_programs_along_and_the_next_request_is_served(
    tmp_path: Path,
) -> None:
    platform = await started(tmp_path)
    try:
        before = await ask_all(platform, ["one", "two"])
        [supervisor] = supervisors(platform)
        supervisor.send_signal(signal.SIGKILL)
        said = await asyncio.to_thread(platform.wait_for_output, rf"supervisor \(process {supervisor.pid}\).*went away")
        assert "its 2 containers were killed" in said.string
        after = await ask_all(platform, ["one", "two"])
        assert all(after[name]["asked"] == 1 for name in after)
        assert set(programs(platform)) == {answer["pid"] for answer in after.values()}
        assert not {answer["pid"] for answer in before.values()} & set(programs(platform))
        for name in after:
            assert await ask(platform, f"/{name}/history") == ["start", "exit 137 platform", "start"]
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


async def test_a_supervisor_killed_together_with_the_platform_is_cleaned_up_by_the_next_start(tmp_path: Path) -> None:
    platform = await started(tmp_path)
    try:
        before = await ask_all(platform, ["one", "two"])
        [supervisor] = supervisors(platform)
        os.kill(platform.pid, signal.SIGSTOP)  # it must not see its supervisor go
        supervisor.send_signal(signal.SIGKILL)
        platform.crash()
        platform = await started(tmp_path)

        async def told() -> bool:
            histories = [await ask(platform, f"/{name}/history") for name in before]
            return histories == [["start", "exit 137 platform"]] * 2

        await eventually(told, "on_exit was run for both")
        assert not programs(platform)
        log = (platform.data / "process" / "supervisor" / "log").read_text()
        assert re.search(r"2 containers of an earlier supervisor: \d+ processes killed", log)
        after = await ask_all(platform, ["one", "two"])
        assert set(programs(platform)) == {answer["pid"] for answer in after.values()}
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
