"""``moorings ps``, ``logs``, ``stop`` and ``destroy`` on a platform that runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from moorings.cli import commands
from tests.support.cli import PROGRAM, moorings
from tests.support.platform import Platform
from tests.support.raw import get

APP = Path(__file__).parents[1] / "apps" / "boxes.py"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(APP, tmp_path_factory.mktemp("boxes")) as platform:
        yield platform


async def started(platform: Platform, *names: str) -> None:
    """Containers that have answered a request."""
    for name in names:
        assert (await get(platform.address, f"/{name}")).status == 200


def request(platform: Platform, target: str) -> None:
    """A request where nothing else goes on in this process."""
    assert asyncio.run(get(platform.address, target)).status == 200


def ask(platform: Platform, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return moorings(command, "--data-dir", str(platform.data), *arguments)


def listed(platform: Platform, *options: str) -> dict[str, Any]:
    """What ps shows, by name."""
    answer = ask(platform, "ps", "--json", *options)
    assert answer.returncode == 0, answer.stderr
    return {f"{each['class_name']}/{each['name']}": each for each in json.loads(answer.stdout)}


async def test_ps_lists_what_runs_and_all_what_sleeps_as_well(platform: Platform) -> None:
    await started(platform, "Box/up", "Box/down")
    assert ask(platform, "stop", "down").returncode == 0
    running = listed(platform)
    assert "Box/down" not in running
    up = running["Box/up"]
    assert (up["state"], up["runtime"], up["requests"], up["connections"]) == ("healthy", "process", 0, 0)
    assert up["memory_bytes"] > 0
    assert up["cpu_seconds"] >= 0
    assert up["processes"] >= 1
    assert listed(platform, "--all")["Box/down"]["state"] == "stopped"
    table = ask(platform, "ps", "-a").stdout.splitlines()
    assert table[0].split() == ["NAME", "STATE", "RUNTIME", "AGE", "CPU", "MEMORY", "REQUESTS", "CONNECTIONS"]
    assert any(line.startswith("Box/up ") and "healthy" in line for line in table)
    assert any(line.startswith("Box/down ") and "stopped" in line for line in table)


async def test_a_name_of_two_classes_is_ambiguous_and_the_error_lists_them(platform: Platform) -> None:
    await started(platform, "Box/twin", "Crate/twin")
    refused = ask(platform, "logs", "twin")
    assert refused.returncode == 1
    assert "Box/twin" in refused.stderr
    assert "Crate/twin" in refused.stderr
    assert "listening as twin" in ask(platform, "logs", "Crate/twin").stdout
    problem = json.loads(ask(platform, "logs", "--json", "twin").stdout)
    assert (problem["code"], problem["status"]) == ("ambiguous", 409)


async def test_a_container_can_be_named_by_its_id_and_a_name_may_have_a_slash(platform: Platform) -> None:
    await started(platform, "Box/a/b")
    shown = listed(platform)["Box/a/b"]
    for written in ("a/b", "Box/a/b", shown["object_id"], f"Box/{shown['object_id']}"):
        assert "listening as a/b" in ask(platform, "logs", written).stdout


def test_a_name_that_never_had_a_container_is_not_found(platform: Platform) -> None:
    for command in ("logs", "stop", "destroy"):
        refused = ask(platform, command, "nobody")
        assert refused.returncode == 1
        assert "there is no container nobody" in refused.stderr
        assert "moorings ps --all" in refused.stderr


async def test_logs_have_both_streams_apart_and_stay_after_the_end(platform: Platform) -> None:
    await started(platform, "Box/talker")
    ask(platform, "destroy", "talker")
    shown = ask(platform, "logs", "talker")
    assert shown.stdout.splitlines() == ["listening as talker", "got /Box/talker"]
    assert shown.stderr.splitlines() == ["on standard error"]
    assert ask(platform, "logs", "--tail", "1", "talker").stdout == "got /Box/talker\n"
    lines = [json.loads(line) for line in ask(platform, "logs", "--json", "talker").stdout.splitlines()]
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    assert ask(platform, "logs", "--since", "1h", "-n", "1", "-t", "talker").stdout.endswith(" got /Box/talker\n")
    assert ask(platform, "logs", "--since", "yesterday", "talker").returncode == 2


def test_followed_logs_come_as_they_are_printed_and_end_with_the_container(platform: Platform) -> None:
    request(platform, "/Box/followed")
    command = [PROGRAM, "logs", "-f", "--data-dir", str(platform.data), "followed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "listening as followed\n"
        assert following.stdout.readline() == "got /Box/followed\n"
        request(platform, "/Box/followed?later")
        assert following.stdout.readline() == "got /Box/followed?later\n"
        ask(platform, "destroy", "followed")
        assert following.stdout.read() == ""
        assert following.wait(20) == 0


async def test_stop_waits_for_the_end_and_the_next_request_starts_anew(platform: Platform) -> None:
    await started(platform, "Box/stopped", "Box/too")
    answer = ask(platform, "stop", "stopped", "Box/too")
    assert answer.stdout.splitlines() == ["Box/stopped stopped", "Box/too stopped"]
    assert "Box/stopped" not in listed(platform)
    assert ask(platform, "stop", "stopped").stdout == "Box/stopped did not run\n"
    await started(platform, "Box/stopped")
    assert listed(platform)["Box/stopped"]["state"] == "healthy"
    [told] = json.loads(ask(platform, "stop", "--json", "--signal", "KILL", "stopped").stdout)
    assert told["was_running"] is True
    assert ask(platform, "stop", "--signal", "NONSENSE", "up").returncode == 1


async def test_destroy_ends_it_at_once(platform: Platform) -> None:
    await started(platform, "Box/doomed")
    assert ask(platform, "destroy", "doomed").stdout == "Box/doomed stopped\n"
    [told] = json.loads(ask(platform, "destroy", "--json", "doomed").stdout)
    assert (told["container"], told["was_running"]) == ("Box/doomed", False)


def test_each_command_has_help_with_an_example() -> None:
    for command in ("ps", "logs", "exec", "stop", "destroy"):
        shown = CliRunner().invoke(commands.moorings, [command, "--help"])
        assert shown.exit_code == 0
        assert "--data-dir" in shown.output
