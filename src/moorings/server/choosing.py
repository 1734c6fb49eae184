"""Which runtime a class's containers run on, decided once when an app is loaded: ``--runtime``, and what is there.

``auto`` takes Docker where a class has an image that can be had (a folder with a Dockerfile, or a reference) and the
Engine answers, else the process runtime where it has an ``entrypoint``. A class that needs Docker is Docker's, whether
the Engine answers or not: its requests fail until it does. A class never moves from Docker to processes because the
Engine went away: processes isolate nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from moorings.containers.options import ContainerOptions


class Place(StrEnum):
    """A runtime, as ``--runtime`` names it."""

    PROCESS = "process"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a class runs, and why: half a sentence."""

    place: Place
    why: str


def choose(options: ContainerOptions, wanted: str, *, engine_answers: bool) -> Choice:
    """Where a class runs. ``wanted`` is ``auto``, ``docker`` or ``process``."""
    start = options.start
    if wanted == Place.PROCESS:
        return Choice(Place.PROCESS, "--runtime process")
    if wanted == Place.DOCKER:
        return Choice(Place.DOCKER, "--runtime docker")
    if start.image is None:
        return Choice(Place.PROCESS, "it has no image")
    if start.image_folder is not None and not (start.image_folder / "Dockerfile").is_file():
        if start.entrypoint:
            return Choice(Place.PROCESS, f"{start.image} has no Dockerfile")
        return Choice(Place.DOCKER, "it has an image and no entrypoint")
    if engine_answers:
        return Choice(Place.DOCKER, "it has an image, and Docker answers")
    if start.entrypoint:
        return Choice(Place.PROCESS, "it has an entrypoint, and Docker doesn't answer")
    return Choice(Place.DOCKER, "it has an image and no entrypoint")


def choose_all(
    classes: Mapping[str, ContainerOptions], wanted: str, *, before: Mapping[str, Choice] | None = None
) -> dict[str, Choice]:
    """Where each class runs. Looks for the Engine only where that makes a difference.

    A class that was Docker's ``before`` doesn't leave it because the Engine is away.
    """
    stays = {name for name, choice in (before or {}).items() if choice.place is Place.DOCKER}
    answers: bool | None = None
    choices: dict[str, Choice] = {}
    for name, options in classes.items():
        choice = choose(options, wanted, engine_answers=True)
        if wanted == "auto" and choice.place is Place.DOCKER:
            if answers is None:
                answers = engine_answers()
            choice = choose(options, wanted, engine_answers=answers or name in stays)
        choices[name] = choice
    return choices


def engine_answers() -> bool:
    """Whether something listens where the Engine is looked for. Blocks, for a second at most."""
    from moorings.runtimes.docker.locating import locate

    host = locate(os.environ)
    if not host.startswith("unix://"):
        return True  # it was named on purpose
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True
