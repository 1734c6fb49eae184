"""Images of an app's classes: built from a folder when its content is new, pulled when a reference is missing.

A built image is called ``moorings/<app>/<class>:<digest of the context>``: where the Engine has that tag there is
nothing to do. Labels on it say which app and class it is for, so that ``prune`` finds those that have had their day.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker.exceptions import DockerStreamError

from moorings.errors import ContainerFailedToStart, RuntimeUnavailable
from moorings.runtimes.base import ImageSpec
from moorings.runtimes.docker import context
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.identity import APP, CLASS, slug
from moorings.runtimes.docker.ignoring import DOCKERFILE

Progress = Callable[[str], None]

_IN_MEMORY = 16 * 1024 * 1024
_SHOWN = 30  # lines of a failed build's output that its error carries
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


async def prepare(engine: Engine, spec: ImageSpec, progress: Progress) -> str:
    """Have the image there; returns its name. ``progress`` is told a line at a time.

    Raises ContainerFailedToStart where it can't be built or pulled, RuntimeUnavailable.
    """
    try:
        if spec.folder is None:
            await _pull(engine, spec, progress)
            return spec.reference
        return await _build(engine, spec, spec.folder, progress)
    except Unreachable as error:
        raise RuntimeUnavailable(str(error)) from None
    except Refused as error:
        raise ContainerFailedToStart(f"the image of {spec.class_name} can't be had: {error.message}") from None


async def tag_of(spec: ImageSpec) -> str:
    """The name of the image that is built from a class's folder. Raises ContainerFailedToStart."""
    assert spec.folder is not None
    if not (spec.folder / DOCKERFILE).is_file():
        raise ContainerFailedToStart(f"{spec.class_name}.image is the folder {spec.folder}, which has no Dockerfile")
    try:
        digest = await asyncio.to_thread(context.digest, spec.folder, spec.variables)
    except (OSError, ValueError) as error:
        raise ContainerFailedToStart(f"the folder {spec.folder} of {spec.class_name} can't be read: {error}") from None
    return f"{_prefix(spec.app)}{slug(spec.class_name)}:{digest}"


def _prefix(app: str) -> str:
    """What the names of images that are built for an app begin with."""
    return f"moorings/{slug(app)}/"


async def _exists(engine: Engine, name: str) -> bool:
    try:
        with engine.translated():
            await engine.docker.images.inspect(name)
    except Refused as error:
        if error.status == 404:
            return False
        raise
    return True


async def _pull(engine: Engine, spec: ImageSpec, progress: Progress) -> None:
    if await _exists(engine, spec.reference):
        return
    progress(f"pulling {spec.reference}")
    last = ""
    try:
        with engine.translated():
            async for message in engine.docker.images.pull(spec.reference, stream=True):
                status = " ".join(filter(None, [str(message.get("id") or ""), str(message.get("status") or "")]))
                if status and status != last and not message.get("progressDetail"):
                    last = status
                    progress(status)
    except DockerStreamError as error:
        raise _not_pulled(spec, error.message) from None
    except Refused as error:
        raise _not_pulled(spec, error.message) from None
    if not await _exists(engine, spec.reference):
        raise _not_pulled(spec, "the Engine doesn't have it afterwards")


def _not_pulled(spec: ImageSpec, why: str) -> ContainerFailedToStart:
    return ContainerFailedToStart(
        f"{spec.class_name}.image is {spec.reference}, which is neither a folder beside the worker nor an image that "
        f"the Engine has, and it can't be pulled: {why}. For a private registry: docker login, then docker pull "
        f"{spec.reference}"
    )


async def _build(engine: Engine, spec: ImageSpec, folder: Path, progress: Progress) -> str:
    name = await tag_of(spec)
    if await _exists(engine, name):
        return name
    progress(f"building {name} from {folder}")
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as tar:
        try:
            await asyncio.to_thread(context.write_tar, folder, tar)
        except (OSError, ValueError) as error:
            raise ContainerFailedToStart(f"the folder {folder} of {spec.class_name} can't be read: {error}") from None
        tar.seek(0)
        building = _Building(spec, progress)
        try:
            with engine.translated():
                messages = engine.docker.images.build(
                    fileobj=tar,
                    encoding="identity",
                    tag=name,
                    buildargs=dict(spec.variables) or None,
                    labels={APP: spec.app, CLASS: spec.class_name},
                    forcerm=True,
                    stream=True,
                )
                async for message in messages:
                    building.told(message)
        except DockerStreamError as error:
            raise building.failed(error.message) from None
        except Refused as error:
            raise building.failed(error.message) from None
    if building.error:
        raise building.failed(building.error)
    progress(f"built {name}")
    return name


class _Building:
    """Follows a build: which step it is at, and what that printed."""

    def __init__(self, spec: ImageSpec, progress: Progress) -> None:
        self._spec = spec
        self._progress = progress
        self._step = ""
        self._output: list[str] = []
        self._partial = ""
        self.error = ""

    def told(self, message: Mapping[str, Any]) -> None:
        """Take a message of the Engine's."""
        if message.get("error"):
            self.error = str(message["error"])
        text = self._partial + str(message.get("stream") or "")
        *lines, self._partial = text.split("\n")
        for line in lines:
            self._line(_ESCAPES.sub("", line.rstrip("\r")))

    def _line(self, line: str) -> None:
        if not line.strip():
            return
        if line.startswith("Step "):
            self._step = line.removeprefix("Step ")
            self._output.clear()
        else:
            self._output.append(line)
        self._progress(line)

    def failed(self, why: str) -> ContainerFailedToStart:
        """The error of the build, with the step at which it failed and what that printed last."""
        step = f" at step {self._step}" if self._step else ""
        output = [line for line in [*self._output, self._partial] if line.strip() and not line.startswith(" ---> ")]
        return ContainerFailedToStart(
            f"the image of {self._spec.class_name} could not be built: {self._spec.folder} failed{step}: {why}",
            output=tuple(output[-_SHOWN:]),
        )


@dataclass(frozen=True, slots=True)
class Pruned:
    """``removed`` and ``in_use`` have names; ``bytes`` is the size of the removed ones, with layers they shared."""

    removed: tuple[str, ...]
    in_use: tuple[str, ...]
    bytes: int


async def prune(engine: Engine, app: str, *, keep: Collection[str]) -> Pruned:
    """Remove the images that were built for an app, but for those in ``keep`` and those that containers use.

    Other names of theirs stay, and so do other images that have the label: whoever builds on one, or commits a
    container, inherits it. Raises RuntimeUnavailable.
    """
    removed: list[str] = []
    in_use: list[str] = []
    size = 0
    try:
        with engine.translated():
            found = await engine.docker.images.list(filters={"label": [f"{APP}={app}"]})
        for image in found:
            names = [name for name in image.get("RepoTags") or () if name != "<none>:<none>"]
            ours = [name for name in names if name.startswith(_prefix(app)) and name not in keep]
            if names and not ours:
                continue
            label = ", ".join(ours) or str(image["Id"]).removeprefix("sha256:")[:12]
            try:
                with engine.translated():
                    for name in ours or [image["Id"]]:
                        await engine.docker.images.delete(name)
            except Refused as error:
                if error.status == 409:
                    in_use.append(label)
                continue
            removed.append(label)
            size += int(image.get("Size") or 0)
    except (Unreachable, Refused) as error:
        raise RuntimeUnavailable(str(error)) from None
    return Pruned(tuple(removed), tuple(in_use), size)
