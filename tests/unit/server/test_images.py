"""When the image of a class is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from moorings.containers.container import Container
from moorings.containers.options import read_options
from moorings.observer import NullObserver
from moorings.runtimes.base import ImageSpec
from moorings.server.choosing import Choice, Place
from moorings.server.images import AppImages


class Builder:
    """Builds what it is asked for when the test says so."""

    def __init__(self) -> None:
        self.builds: list[asyncio.Future[str]] = []
        self.begun = asyncio.Event()

    async def __call__(self, image: ImageSpec, progress: Callable[[str], None]) -> str:
        build: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.builds.append(build)
        self.begun.set()
        return await build

    async def build(self, number: int) -> asyncio.Future[str]:
        """The build of that number, once it was asked for."""
        while len(self.builds) <= number:
            self.begun.clear()
            await self.begun.wait()
        return self.builds[number]


async def test_whoever_waits_for_an_image_whose_folder_changes_meanwhile_gets_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "Dockerfile").write_text("FROM scratch\n")
    options = read_options(type("Box", (Container,), {"image": "./box", "default_port": 80}), tmp_path)
    builder = Builder()
    images = AppImages(builder, NullObserver())
    images.use("app", {"Box": options}, {"Box": Choice(Place.DOCKER, "")})
    waiting = asyncio.ensure_future(images.ready("Box"))
    first = await builder.build(0)
    images.outdated(["Box"])
    first.set_result("box:old")
    (await builder.build(1)).set_result("box:new")
    await waiting
    assert images.name("Box") == "box:new"
    await images.close()
