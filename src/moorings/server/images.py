"""The images of an app's classes: had before they are needed, and waited for where they aren't there yet.

A class's image is looked after by one task at a time, however many requests wait for it. What failed is tried again by
the next request; what has changed on disk is known again after ``use``, and an image that somebody has removed from the
Engine after ``lost``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

from moorings.containers.options import ContainerOptions
from moorings.errors import MooringsError
from moorings.http.owned_tasks import OwnedTasks
from moorings.observer import ErrorReported, Notice, Observer
from moorings.runtimes.base import ImageSpec
from moorings.server.choosing import Choice, Place

Prepare = Callable[[ImageSpec, Callable[[str], None]], Awaitable[str]]


def image_of(app: str, options: ContainerOptions) -> ImageSpec | None:
    """What a class's containers are made from; None where it has no image."""
    start = options.start
    if start.image is None:
        return None
    return ImageSpec(app, options.class_name, start.image, start.image_folder, dict(start.image_vars))


class AppImages:
    """The images of the classes that run on Docker."""

    def __init__(self, prepare: Prepare, observer: Observer) -> None:
        self._prepare = prepare
        self._observer = observer
        self._specs: dict[str, ImageSpec] = {}
        self._names: dict[str, str] = {}
        self._preparing: dict[str, asyncio.Task[str]] = {}
        self._tasks = OwnedTasks()

    def use(self, app: str, classes: Mapping[str, ContainerOptions], choices: Mapping[str, Choice]) -> None:
        """Take a version of the app: from now on its images count, as they are on disk now."""
        docker = [name for name in classes if choices[name].place is Place.DOCKER]
        self._specs = {name: spec for name in docker if (spec := image_of(app, classes[name])) is not None}
        self.outdated(docker)

    @property
    def folders(self) -> set[Path]:
        """Those that images are built from."""
        return {spec.folder for spec in self._specs.values() if spec.folder is not None}

    def outdated(self, classes: Collection[str]) -> None:
        """The folders of classes have changed."""
        for name in classes:
            self._names.pop(name, None)
            self._preparing.pop(name, None)

    async def ready(self, class_name: str) -> None:
        while class_name in self._specs and class_name not in self._names:  # again where its folder changes meanwhile
            await asyncio.shield(self._task(class_name))

    def lost(self, class_name: str) -> None:
        self._names.pop(class_name, None)  # what is being had already may go on

    def name(self, class_name: str) -> str | None:
        return self._names.get(class_name)

    async def prepare_all(self) -> None:
        """Have every image there. Raises ContainerFailedToStart or RuntimeUnavailable for the first that fails."""
        for name in list(self._specs):
            await self.ready(name)

    def prepare_in_background(self) -> None:
        """Begin to have every image there; what fails is told."""
        self._tasks.spawn(self._quietly(), name="moorings-images")

    async def _quietly(self) -> None:
        for name in list(self._specs):
            try:
                await self.ready(name)
            except MooringsError as error:
                self._observer.notify(ErrorReported(f"the image of {name}", error))

    def _task(self, class_name: str) -> asyncio.Task[str]:
        task = self._preparing.get(class_name)
        if task is None:
            task = self._preparing[class_name] = self._tasks.spawn(self._have(class_name), name=f"image {class_name}")
            task.add_done_callback(lambda done: self._had(class_name, done))
        return task

    async def _have(self, class_name: str) -> str:
        def progress(line: str) -> None:
            self._observer.notify(Notice("info", f"{class_name}: {line}"))

        return await self._prepare(self._specs[class_name], progress)

    def _had(self, class_name: str, done: asyncio.Task[str]) -> None:
        if self._preparing.get(class_name) is done:
            del self._preparing[class_name]
            if not done.cancelled() and done.exception() is None:
                self._names[class_name] = done.result()

    async def close(self) -> None:
        """Let go of what is under way; the Engine finishes builds by itself or drops them."""
        self._tasks.cancel()
        await self._tasks.settle()
