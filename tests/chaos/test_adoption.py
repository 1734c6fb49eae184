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

from tests.chaos.boxes import ask, cut_short, programs, remains, started, supervisors
from tests.support.platform import Platform
from tests.support.waiting import eventually
from tools.engine import Engine

MANY, FEW = 50, 8
OOM = signal.SIGUSR1
CAUSES = {signal.SIGTERM: "exit 7 exit", signal.SIGKILL: "exit 137 signal", OOM: "exit 137 oom"}


def printed(platform: Platform, name: str) -> int:
    """The number of the last line that a box has printed, read without the platform."""
    if platform.engine is None:
        text = (platform.data / "process" / "logs" / "Box" / name / "current.log").read_text()
    else:
        [box] = [each for each in platform.docker_containers() if each["Labels"]["dev.moorings.name"] == name]
        text = str(platform.engine.ask("GET", f"/containers/{box['Id']}/logs?stdout=1&tail=2"))
    return max((int(number) for number in re.findall(r"line (\d+)\n", text)), default=-1)


async def ask_all(platform: Platform, names: list[str], what: str = "") -> dict[str, Any]:
    """One request to each box."""
    return dict(zip(names, await asyncio.gather(*(ask(platform, f"/{name}{what}") for name in names)), strict=True))


@pytest.mark.timeout(600)
async def test_programs_keep_who_they_are_their_memory_and_every_line_across_kill_9(
    tmp_path: Path, place: Engine | None, kills: int
) -> None:
    few = place is not None and kills < 10
    names = [f"box-{number}" for number in range(FEW if few else MANY)]
    luck = random.Random(3)
    platform = await started(tmp_path, engine=place)
    try:
        before = await ask_all(platform, names)
        for _ in range(min(kills, 2 if few else 10)):
            platform.crash()
            await lines_to_come(platform, names)
            await cut_short(tmp_path, luck, engine=place)
            platform = await started(tmp_path, engine=place)
            after = await ask_all(platform, names)
            for name in names:
                assert after[name] == {**before[name], "asked": before[name]["asked"] + 1}
            assert set(programs(platform)) == {answer["who"] for answer in after.values()}
            assert remains(platform) == len(names)
            before = after
        await ask_all(platform, names, "/stop")

        async def ended() -> bool:
            states = await ask_all(platform, names, "/state")
            return all(state["exit_code"] == 7 for state in states.values())

        await eventually(ended, "all have ended", within=60.0)
        for name, lines in (await ask_all(platform, names, "/printed")).items():
            last = int(lines[-1].removeprefix("last "))
            assert lines[:-1] == [f"line {number}" for number in range(last + 1)], f"lines of {name} are not as printed"
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


async def lines_to_come(platform: Platform, names: list[str]) -> None:
    """Wait until every box has printed three more lines, with nobody there but its runtime."""
    for name, seen in [(name, printed(platform, name)) for name in names]:

        async def came(name: str = name, seen: int = seen) -> bool:
            return printed(platform, name) >= seen + 3

        await eventually(came, "every box goes on printing without the platform", within=30.0)


async def test_what_ended_while_the_platform_was_down_has_its_end_told(tmp_path: Path, place: Engine | None) -> None:
    signals = [signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM if place is None else OOM]
    ways = {f"box-{number}": signum for number, signum in enumerate(signals)}
    platform = await started(tmp_path, engine=place)
    try:
        before = await ask_all(platform, list(ways))
        running = programs(platform)
        platform.crash()
        for name, signum in ways.items():
            running[before[name]["who"]].send_signal(signum)

        async def gone() -> bool:
            return not programs(platform)

        await eventually(gone, "the programs are gone")
        platform = await started(tmp_path, engine=place)
        for name, signum in ways.items():

            async def told(name: str = name) -> Any:
                history = await ask(platform, f"/{name}/history")
                return history if history[-1] != "start" else None

            assert await eventually(told, "on_exit was run") == ["start", CAUSES[signum]]
            state = await ask(platform, f"/{name}/state")
            assert (state["status"], state["exit_code"]) == ("stopped_with_code", int(CAUSES[signum].split()[1]))
        after = await ask_all(platform, list(ways))
        assert all(after[name]["asked"] == 1 for name in ways)

        async def tidy() -> bool:
            return remains(platform) == len(ways)

        await eventually(tidy, "those that have ended are removed")
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
        assert set(programs(platform)) == {answer["who"] for answer in after.values()}
        assert not {answer["who"] for answer in before.values()} & set(programs(platform))
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
        assert set(programs(platform)) == {answer["who"] for answer in after.values()}
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()
