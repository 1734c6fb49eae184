"""Where the containers of ``apps/sessions.py`` run, and what a test sees and does there behind the platform's back."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psutil

from tests.support.platform import Platform
from tests.support.processes import processes_of
from tests.support.raw import Address
from tools.engine import Engine


class Place(Protocol):
    """The containers of one platform. ``who`` is what a program answers when it is asked for itself (``/pid``)."""

    def starts(self, name: str) -> list[str]:
        """Who was started for an object, in order."""

    def running(self, name: str) -> list[str]:
        """Who runs for an object."""

    def kill(self, who: str) -> None:
        """SIGKILL."""

    def create(self, name: str, kind: str) -> None:
        """Open an object's ``gate``, or have it ``fixed``; also where it is yet to be started."""

    def address(self, name: str, port: int) -> Address:
        """Where an object's program listens, ``port`` being what it was told."""


class OnMachine:
    """Processes: ``who`` is a process id; the files are where the program looks for them."""

    def __init__(self, files: Path) -> None:
        self._files = files

    def starts(self, name: str) -> list[str]:
        file = self._files / f"{name}.starts"
        return file.read_text().split() if file.exists() else []

    def running(self, name: str) -> list[str]:
        found = processes_of(self._files / f"{name}.starts")
        return [str(process.pid) for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def kill(self, who: str) -> None:
        os.kill(int(who), signal.SIGKILL)

    def create(self, name: str, kind: str) -> None:
        (self._files / f"{name}.{kind}").touch()

    def address(self, name: str, port: int) -> Address:
        return "127.0.0.1", port


class OnDocker:
    """Containers of an Engine: ``who`` is the first 12 digits of an id, which is the container's host name."""

    def __init__(self, files: Path, engine: Engine) -> None:
        self._files = files
        self._engine = engine

    def starts(self, name: str) -> list[str]:
        told = self._engine.events("start", label=f"dev.moorings.name={name}")
        return [event["Actor"]["ID"][:12] for event in told]

    def running(self, name: str) -> list[str]:
        return [each["Id"][:12] for each in filter(_runs, self._containers(name))]

    def kill(self, who: str) -> None:
        self._engine.ask("POST", f"/containers/{who}/kill")

    def create(self, name: str, kind: str) -> None:
        (self._files / f"{name}.{kind}").touch()  # for containers to come
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(kind))
        for each in filter(_runs, self._containers(name)):
            path = f"/containers/{each['Id']}/archive?path={quote('/')}"
            self._engine.ask("PUT", path, file.getvalue(), content="application/x-tar")

    def address(self, name: str, port: int) -> Address:
        [container] = self._containers(name)
        [network] = container["NetworkSettings"]["Networks"].values()
        return network["IPAddress"], port

    def _containers(self, name: str) -> list[dict[str, Any]]:
        return self._engine.containers(label=[f"dev.moorings.name={name}"])


def _runs(container: dict[str, Any]) -> bool:
    return bool(container["State"] == "running")


def place_of(platform: Platform, files: Path) -> Place:
    """Where a platform's containers run."""
    return OnMachine(files) if platform.engine is None else OnDocker(files, platform.engine)
