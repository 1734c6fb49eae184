"""Paused containers and warm spares, on the platform as it is run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import APPS
from tests.support.frames import Socket
from tests.support.platform import Platform
from tests.support.processes import accepts
from tests.support.raw import get
from tests.support.waiting import eventually, wait_until

APP = APPS / "idle_and_warm.py"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(APP, tmp_path / "platform") as platform:
        yield platform


async def ask(platform: Platform, target: str = "/pid", binding: str = "PAUSER", name: str = "one") -> str:
    answer = await get(platform.address, target, {"X-Class": binding, "X-Name": name})
    assert answer.status == 200, answer.body
    return answer.text()


async def state(platform: Platform, name: str = "one") -> str:
    answer = await get(platform.address, "/-/state", {"X-Name": name})
    return str(answer.json()["status"])


async def asleep(platform: Platform, pid: int, name: str = "one") -> None:
    """Return once it is paused, by its state and by the kernel's."""

    async def is_paused() -> bool:
        stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
        return await state(platform, name) == "paused" and stopped

    await eventually(is_paused, "the container is paused")


def programs(platform: Platform, binding: str) -> dict[int, dict[str, str]]:
    """The programs of a class that accept, and their environments."""
    found = {}
    for process in platform.containers():
        try:
            env = process.environ()
            if env.get("MOORINGS_CLASS") == binding and accepts(("127.0.0.1", int(env["PORT"]))):
                found[process.pid] = env
        except psutil.Error:
            continue
    return found


async def test_an_idle_container_is_paused_and_the_next_request_finds_it_as_it_was(platform: Platform) -> None:
    pid = int(await ask(platform))
    for _ in range(3):
        await asleep(platform, pid)
        assert int(await ask(platform)) == pid
    await asleep(platform, pid)
    await ask(platform, "/-/stop")

    async def stopped() -> bool:
        return await state(platform) in ("stopped", "stopped_with_code")

    await eventually(stopped, "one that is paused can be stopped")


async def test_a_client_that_only_pings_is_told_before_its_container_is_paused(platform: Platform) -> None:
    pid = int(await ask(platform))
    with await Socket.open(platform.address, headers=(("X-Class", "PAUSER"),)) as socket:
        told = await socket.frame()
        assert told.close_code == 1001
    await asleep(platform, pid)
    with await Socket.open(platform.address, headers=(("X-Class", "PAUSER"),)):
        assert psutil.Process(pid).status() != psutil.STATUS_STOPPED


async def test_one_that_is_killed_while_it_is_paused_is_noticed_and_started_anew(platform: Platform) -> None:
    pid = int(await ask(platform))
    await asleep(platform, pid)
    os.kill(pid, signal.SIGKILL)

    async def noticed() -> bool:
        return await state(platform) == "stopped_with_code"

    await eventually(noticed, "its end is noticed")
    assert int(await ask(platform)) != pid


async def test_spares_are_taken_by_first_requests_and_replaced(platform: Platform) -> None:
    before = wait_until(lambda: len(found := programs(platform, "Warm")) == 2 and found, "two spares are ready")
    assert before
    assert all("MOORINGS_NAME" not in env and "MOORINGS_OBJECT_ID" not in env for env in before.values())
    taken = {int(await ask(platform, binding="WARM", name=name)) for name in ("alice", "bob")}
    assert taken == set(before)
    wait_until(lambda: len(programs(platform, "Warm")) == 4, "two others are started in their place")
    assert {int(await ask(platform, binding="WARM", name=name)) for name in ("alice", "bob")} == taken


async def test_paused_containers_and_spares_outlive_a_platform_that_is_killed(tmp_path: Path) -> None:
    dying = Platform(APP, tmp_path / "platform")
    try:
        wait_until(lambda: len(programs(dying, "Warm")) == 2, "two spares are ready")
        pid, alice = int(await ask(dying)), int(await ask(dying, binding="WARM", name="alice"))
        spares = wait_until(lambda: len(found := programs(dying, "Warm")) == 3 and set(found) - {alice}, "two spares")
        assert spares
        await asleep(dying, pid)
        dying.crash()
        with Platform(APP, tmp_path / "platform") as platform:
            assert await state(platform) == "paused"
            assert int(await ask(platform)) == pid
            assert int(await ask(platform, binding="WARM", name="alice")) == alice
            assert set(programs(platform, "Warm")) == spares | {alice}
            assert int(await ask(platform, binding="WARM", name="bob")) in spares
    finally:
        dying.kill()
