"""What goes wrong around the platform: each trouble is one clear message, and costs nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.platform import Platform
from tests.support.raw import Answer, get
from tests.support.waiting import wait_until

COMMAND = str(Path(sysconfig.get_path("scripts")) / "moorings")
MIB = 2**20

WORKER = """
from moorings import DurableObject, Response, WorkerEntrypoint


class Keeper(DurableObject):
    def keep(self, key, value):
        self.ctx.storage.put(key, value)

    def insert(self, key, value):
        self.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT)")
        self.ctx.storage.sql.exec("INSERT OR REPLACE INTO kept VALUES (?, ?)", key, value)

    async def kept(self):
        return sorted(await self.ctx.storage.list())

    def inserted(self):
        self.ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT)")
        return [key for (key,) in self.ctx.storage.sql.exec("SELECT key FROM kept ORDER BY key").raw()]


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        keeper = self.env.KEEPER.get_by_name("a")
        match request.url.path.split("/")[1:]:
            case ["hello"]:
                return Response("hello")
            case ["put", how, key]:
                await getattr(keeper, how)(key, "x" * int(request.url.query.get("size", 10)))
                return Response("kept", status=201)
            case [how]:
                return Response.json(await getattr(keeper, how)())
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A worker that keeps keys."""
    path = tmp_path / "app" / "worker.py"
    path.parent.mkdir()
    path.write_text(WORKER)
    return path


def serve(worker: Path, data: Path) -> subprocess.CompletedProcess[str]:
    """A platform that can't run: its exit code and what it says."""
    command = [COMMAND, "serve", str(worker), "--port", "0", "--data-dir", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def the_one_message(ended: subprocess.CompletedProcess[str]) -> str:
    """What it said on standard error: one sentence, no traceback."""
    assert ended.returncode == 1, (ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr + ended.stdout
    [line] = ended.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


async def put(platform: Platform, how: str, key: str, size: int = 10) -> Answer:
    return await get(platform.address, f"/put/{how}/{key}?size={size}")


# --- a second platform ----------------------------------------------------------------------------------------------


async def test_a_second_platform_on_the_same_folder_is_told_who_holds_it(worker: Path, tmp_path: Path) -> None:
    with Platform(worker, tmp_path / "platform") as platform:
        assert (await put(platform, "keep", "before")).status == 201
        message = the_one_message(await asyncio.to_thread(serve, worker, platform.data))
        assert f"{platform.data} is in use by process {platform.pid}" in message
        assert "--data-dir" in message
        assert (await put(platform, "keep", "then")).status == 201
        assert (await get(platform.address, "/kept")).json() == ["before", "then"]


# --- a damaged database ---------------------------------------------------------------------------------------------


def filled(worker: Path, folder: Path) -> Path:
    """The data folder of a platform that has kept some keys, and has stopped."""

    async def fill(platform: Platform) -> None:
        for number in range(50):
            assert (await put(platform, "keep", f"{number:02}", 5000)).status == 201

    with Platform(worker, folder) as platform:
        asyncio.run(fill(platform))
    return platform.data


@pytest.mark.parametrize("damage", ["no database", "pages overwritten", "cut"])
def test_a_damaged_database_is_refused_and_left_as_it_is(worker: Path, tmp_path: Path, damage: str) -> None:
    database = filled(worker, tmp_path / "platform") / "moorings.sqlite"
    sound = database.read_bytes()
    broken = {
        "no database": b"this is no database at all\n" * 200,
        "pages overwritten": sound[:4096] + os.urandom(len(sound) - 4096),
        "cut": sound[: len(sound) // 2],
    }[damage]
    database.write_bytes(broken)
    for _ in range(2):
        message = the_one_message(serve(worker, database.parent))
        assert f"{database} is damaged" in message
        assert "backup" in message
        assert database.read_bytes() == broken
    database.write_bytes(sound)
    with Platform(worker, tmp_path / "platform") as platform:
        assert asyncio.run(get(platform.address, "/kept")).json() == [f"{number:02}" for number in range(50)]


# --- mounts ---------------------------------------------------------------------------------------------------------


def mount(arguments: Sequence[str]) -> None:
    """Mount something, or skip the test and say why."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount(["-t", "tmpfs", "-o", "size=8m", "moorings-test", str(place)])
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill_up(place: Path) -> Path:
    """A file that takes all the space that is left."""
    path = place / "ballast"
    with path.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), b"\0" * 4096)
    return path


@pytest.mark.parametrize(("how", "shown"), [("keep", "kept"), ("insert", "inserted")])
async def test_a_full_disk_refuses_writes_only_and_is_over_once_there_is_space(
    worker: Path, small_disk: Path, how: str, shown: str
) -> None:
    platform = await asyncio.to_thread(Platform, worker, small_disk / "platform")
    try:
        kept = {"first"}
        assert (await put(platform, how, "first")).status == 201
        ballast = fill_up(small_disk)
        refused = 0
        for number in range(20):
            answer = await put(platform, how, f"during-{number}", 100_000)
            if answer.status == 201:
                kept.add(f"during-{number}")
                continue
            refused += 1
            assert (answer.status, answer.json()["code"]) == (503, "store_error")
            assert answer.header("Content-Type") == "application/problem+json"
            assert (await get(platform.address, "/hello")).text() == "hello"
            assert set((await get(platform.address, f"/{shown}")).json()) == kept
        assert refused >= 15
        await asyncio.to_thread(platform.wait_for_output, "the disk is full")
        ballast.unlink()
        assert (await put(platform, how, "after", 100_000)).status == 201
        assert set((await get(platform.address, f"/{shown}")).json()) == kept | {"after"}
        await asyncio.to_thread(platform.crash)
        platform = await asyncio.to_thread(Platform, worker, small_disk / "platform")
        assert set((await get(platform.address, f"/{shown}")).json()) == kept | {"after"}
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


BOXES = """
import sys
from moorings import Container, WorkerEntrypoint


class Box(Container):
    entrypoint = [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
    default_port = 3000


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return await self.env.BOX.get_by_name(request.url.query["name"]).fetch("/")
"""


@pytest.fixture
def boxes(worker: Path) -> Path:
    """A worker with containers."""
    worker.write_text(BOXES)
    return worker


async def test_a_full_disk_stops_no_container_and_starts_none(boxes: Path, small_disk: Path) -> None:
    platform = await asyncio.to_thread(Platform, boxes, small_disk / "platform")
    try:
        assert (await get(platform.address, "/?name=warm")).status == 200
        before = {process.pid for process in platform.containers()}
        ballast = fill_up(small_disk)
        refused = await get(platform.address, "/?name=cold")
        assert (refused.status, refused.json()["code"]) in {
            (503, "store_error"),  # the intent can't be stored
            (500, "container_failed_to_start"),  # its folders can't be made
        }
        assert (await get(platform.address, "/?name=warm")).status == 200

        def nobody_new() -> bool:
            return {process.pid for process in platform.containers()} == before

        await asyncio.to_thread(wait_until, nobody_new, "nothing of the one that was refused is left")
        ballast.unlink()
        assert (await get(platform.address, "/?name=cold")).status == 200
        assert (await get(platform.address, "/?name=warm")).status == 200
        await asyncio.to_thread(platform.stop)
    finally:
        platform.kill()


def test_a_disk_that_is_full_from_the_start_is_said(worker: Path, small_disk: Path) -> None:
    fill_up(small_disk)
    message = the_one_message(serve(worker, small_disk / "data"))
    assert str(small_disk / "data") in message
    assert "space" in message


def test_a_read_only_folder_is_said(worker: Path, small_disk: Path) -> None:
    data = small_disk / "data"
    data.mkdir()
    mount(["-o", "remount,ro", str(small_disk)])
    message = the_one_message(serve(worker, data))
    assert f"the data folder {data} cannot be written" in message
    assert "--data-dir" in message


def test_a_folder_that_has_become_read_only_is_said_and_keeps_all(worker: Path, small_disk: Path) -> None:
    data = filled(worker, small_disk / "platform")
    mount(["-o", "remount,ro", str(small_disk)])
    message = the_one_message(serve(worker, data))
    assert f"the data folder {data} cannot be written" in message
    mount(["-o", "remount,rw", str(small_disk)])
    with Platform(worker, small_disk / "platform") as platform:
        assert len(asyncio.run(get(platform.address, "/kept")).json()) == 50


# --- a configuration full of mistakes -------------------------------------------------------------------------------

MISTAKES = """
main = "worker.py"
nmae = "shop"

[vars]
GREETING = "hello"

[[durable_objects.bindings]]
name = "KEEPER"
class_name = 7

[[containers]]
class_name = "Keeper"
max_instances = -1

[triggers]
crons = ["every day"]

[moorings.serve]
port = "many"
"""


def test_five_mistakes_in_the_configuration_are_told_together(worker: Path, tmp_path: Path) -> None:
    data = filled(worker, tmp_path / "platform")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    (worker.parent / "moorings.toml").write_text(MISTAKES)
    ended = serve(worker, data)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    for place in ("nmae", "durable_objects.bindings[0]", "containers[0]", "triggers.crons[0]", "moorings.serve"):
        assert place in ended.stderr, f"{place} is not named:\n{ended.stderr}"
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    (worker.parent / "moorings.toml").unlink()
    with Platform(worker, tmp_path / "platform") as platform:
        assert len(asyncio.run(get(platform.address, "/kept")).json()) == 50
