"""What outlives what on Docker: containers the platform, images a change of their folder, requests the Engine."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.docker.boxes import WORKER, Box, run_boxes
from tests.support.platform import Mode, Platform
from tests.support.waiting import eventually
from tools.engine import Engine

MOORINGS = Path(sysconfig.get_path("scripts")) / "moorings"

ONE = """
from moorings import Container, WorkerEntrypoint

class One(Container):
    image = "./container"
    default_port = 3000

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.ONE.get_by_name("one").fetch(request)
"""


def app(folder: Path) -> Path:
    """A worker with one class, whose image a test changes."""
    shutil.copytree(WORKER.parent / "container", folder / "container")
    (folder / "worker.py").write_text(ONE)
    return folder / "worker.py"


async def test_containers_outlive_a_platform_that_is_killed_and_ends_are_told_to_the_next(
    engine: Engine, tmp_path: Path
) -> None:
    first = run_boxes(tmp_path, engine, Mode.SERVE)
    try:
        before = await Box(first, "alice").ask()
        doomed = Box(first, "bob")
        await doomed.ask()
        first.crash()
        for each in first.docker_containers():
            if each["Labels"]["dev.moorings.name"] == "bob":
                engine.ask("POST", f"/containers/{each['Id']}/kill")
        with run_boxes(tmp_path, engine, Mode.SERVE) as second:
            after = await Box(second, "alice").ask()
            assert (after["host"], after["visits"]) == (before["host"], before["visits"] + 1)
            assert await Box(second, "bob").exits(1) == [[137, "signal"]]

            async def alone() -> bool:
                return len(second.docker_containers()) == 1

            await eventually(alone, "the container that ended is removed")
    finally:
        first.kill()


async def test_two_platforms_on_one_engine_leave_each_other_alone(engine: Engine, tmp_path: Path) -> None:
    with run_boxes(tmp_path / "one", engine) as one:
        before = await Box(one, "alice").ask()
        with run_boxes(tmp_path / "other", engine) as other:
            assert (await Box(other, "alice").ask())["host"] != before["host"]
        assert await Box(one, "alice").ask() == {**before, "visits": 2}


async def test_without_an_engine_a_request_says_so_and_works_once_it_is_back(engine: Engine, tmp_path: Path) -> None:
    engine.stop()
    try:
        with Platform(app(tmp_path), tmp_path / "platform", mode=Mode.DEV, engine=engine) as platform:
            box = Box(platform, "one")
            answer = await box.get()
            assert (answer.status, answer.json()["code"]) == (503, "runtime_unavailable")
            assert "Docker can't be reached" in answer.json()["detail"]
            doctor = moorings(engine, "doctor", str(tmp_path / "worker.py"))
            assert "systemctl start docker" in doctor
            assert "✗ One runs on docker" in doctor
            engine.start()
            assert (await box.ask())["visits"] == 1
    finally:
        if not engine.answers():
            engine.start()


BOTH = """
import sys
from moorings import Container, WorkerEntrypoint

class Boxed(Container):
    image = "./container"
    default_port = 3000

class Local(Container):
    entrypoint = [sys.executable, "container/server.py"]
    default_port = 3000

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env[request.headers["X-Class"]].get_by_name("one").fetch(request)
"""


async def test_moorings_ps_says_of_each_container_what_runs_it(engine: Engine, tmp_path: Path) -> None:
    worker = app(tmp_path)
    worker.write_text(BOTH)
    with Platform(worker, tmp_path / "platform", engine=engine, options=["--runtime", "auto"]) as platform:
        for binding in ("BOXED", "LOCAL"):
            await Box(platform, "one", binding).ask()
        told = json.loads(moorings(engine, "ps", "--json", "--data-dir", str(platform.data)))
        assert {each["class_name"]: each["runtime"] for each in told} == {"Boxed": "docker", "Local": "process"}


@pytest.fixture(params=[(), ("--live-restore",)], ids=["containers end with it", "live-restore"])
def restart(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Restarts the Engine, which keeps its containers meanwhile, or does not."""

    def again() -> None:
        engine.stop()
        engine.start(*request.param)

    again()
    yield again
    engine.stop()
    engine.start()


async def assert_served_on(box: Box, before: dict[str, Any], ends: list[tuple[int, str]]) -> None:
    """By the container that answered ``before``, or by a new one after one of the ``ends`` of that was told."""
    after = await box.ask()
    if not ends:
        assert after == {**before, "visits": before["visits"] + 1}
        assert await box.ask("/-/exits") == []
    else:
        assert (after["host"] != before["host"], after["visits"]) == (True, 1)
        assert await box.exits(1) in [[[code, reason]] for code, reason in ends]


@pytest.mark.parametrize("killed", [False, True], ids=["under the platform", "while the platform is down"])
async def test_a_restart_of_the_engine_is_survived_by_the_platform_and_by_containers_where_the_engine_keeps_them(
    engine: Engine, tmp_path: Path, restart: Callable[[], None], request: pytest.FixtureRequest, killed: bool
) -> None:
    ends = []
    if "live-restore" not in request.node.name:
        # A platform that was not there learns only what the Engine wrote down: the SIGTERM that it sent. One that was
        # may see the Engine go before it has told how the container ended.
        ends = [(143, "signal")] if killed else [(143, "platform"), (137, "platform")]
    platform = run_boxes(tmp_path, engine, Mode.SERVE)
    try:
        before = await Box(platform, "alice").ask()
        if killed:
            platform.crash()
        restart()
        if killed:
            platform = run_boxes(tmp_path, engine, Mode.SERVE)
        await assert_served_on(Box(platform, "alice"), before, ends)
        assert (await Box(platform, "bob").ask())["visits"] == 1

        async def tidy() -> bool:
            return len(platform.docker_containers()) == 2

        await eventually(tidy, "no container that ended is left", within=30.0)
        platform.stop()
    finally:
        platform.kill()


async def test_what_the_engine_kept_while_a_platform_began_without_it_is_removed(
    engine: Engine, tmp_path: Path
) -> None:
    engine.stop()
    engine.start("--live-restore")
    first = Platform(app(tmp_path), tmp_path / "platform", engine=engine)
    try:
        await Box(first, "one").ask()
        first.crash()
        engine.stop()
        with Platform(tmp_path / "worker.py", tmp_path / "platform", engine=engine) as second:
            engine.start("--live-restore")
            assert (await Box(second, "one").ask())["visits"] == 1
            assert len(second.docker_containers()) == 1
    finally:
        first.kill()
        engine.stop()
        engine.start()


async def test_an_image_is_built_anew_when_its_folder_changes_and_old_ones_are_pruned(
    engine: Engine, tmp_path: Path
) -> None:
    worker = app(tmp_path)
    program = tmp_path / "container" / "server.py"
    with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine) as platform:
        box = Box(platform, "one")
        assert (await box.ask())["visits"] == 1
        changed = tmp_path / "server.py"
        changed.write_text(program.read_text().replace("visits = 0", "visits = 100"))
        changed.replace(program)  # at once: a file half written would be a version of its own

        async def rebuilt() -> bool:
            return bool((await box.ask())["visits"] > 100)

        await eventually(rebuilt, "the new program answers", within=30.0)
        before = tags(engine, tmp_path)
        assert len(before) == 2
        shown = moorings(engine, "image", "prune", str(worker))
        assert len(tags(engine, tmp_path)) == 1, shown
        assert (await box.ask())["visits"] > 100


@pytest.mark.parametrize("name", ["Dockerfile", "greeting.txt"])
async def test_dev_builds_an_image_anew_when_anything_changes_that_it_is_made_of(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    worker = app(tmp_path)
    file = tmp_path / "container" / name
    with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine) as platform:
        box = Box(platform, "one")
        before = (await box.ask())["host"]
        changed = tmp_path / "changed"
        changed.write_text(f"{file.read_text() if file.exists() else ''}\n# changed\n")
        changed.replace(file)

        async def another() -> bool:
            return bool((await box.ask())["host"] != before)

        await eventually(another, "a container of the new image answers", within=30.0)
        await asyncio.to_thread(platform.wait_for_output, rf"One/one \(container/{name} changed\)")
        assert len(tags(engine, tmp_path)) == 2
        moorings(engine, "image", "prune", str(worker))


async def test_a_build_that_fails_is_told_with_its_step_and_output_and_tried_again(
    engine: Engine, tmp_path: Path
) -> None:
    worker = app(tmp_path)
    dockerfile = tmp_path / "container" / "Dockerfile"
    good = dockerfile.read_text()
    dockerfile.write_text(good.replace("COPY", "RUN echo so far; echo it is broken; exit 3\nCOPY"))
    with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine) as platform:
        box = Box(platform, "one")
        answer = await box.get()
        assert answer.status == 500
        assert re.search(r"at step 4/\d+ : RUN echo so far", answer.json()["detail"])
        assert "it is broken" in answer.json()["output"]
        dockerfile.write_text(good)
        assert (await box.ask())["visits"] == 1


async def test_an_image_that_is_nowhere_is_told_with_what_to_do(engine: Engine, tmp_path: Path) -> None:
    worker = app(tmp_path)
    worker.write_text(ONE.replace("./container", "localhost:1/nothing:9"))
    with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine) as platform:
        answer = await Box(platform, "one").get()
        assert answer.status == 500
        assert "can't be pulled" in answer.json()["detail"]
        assert "docker pull localhost:1/nothing:9" in answer.json()["detail"]


def tags(engine: Engine, folder: Path) -> list[str]:
    """The images that were built for the app in a folder."""
    return sorted(
        tag
        for image in engine.ask("GET", "/images/json")
        for tag in image["RepoTags"] or ()
        if (image["Labels"] or {}).get("dev.moorings.app") == folder.name
    )


def moorings(engine: Engine, *arguments: str) -> str:
    env = {"DOCKER_HOST": engine.host, "PATH": "/usr/bin:/bin"}
    return subprocess.run([MOORINGS, *arguments], env=env, capture_output=True, text=True, check=False).stdout
