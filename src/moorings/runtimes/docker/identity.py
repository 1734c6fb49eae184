"""Whose a container is: labels that find it, and the installation that it belongs to.

An *installation* is a data folder: two platforms on one Engine never touch each other's containers, even where their
apps have the same name. A copy of a data folder is another installation. Labels only find a container; the store
decides who owns it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from moorings.errors import RuntimeUnavailable
from moorings.runtimes import place
from moorings.runtimes.base import Address, Running, StartSpec

PREFIX = "dev.moorings."
APP = f"{PREFIX}app"
INSTALLATION = f"{PREFIX}installation"
CLASS = f"{PREFIX}class"
OBJECT = f"{PREFIX}object"
NAME = f"{PREFIX}name"
TOKEN = f"{PREFIX}token"
PORTS = f"{PREFIX}ports"


class Installation:
    """The identity of a data folder, and the lock that lets one platform at a time use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = ""
        self._lock: int | None = None

    def open(self) -> None:
        """Take the lock and read the id. Raises RuntimeUnavailable where another platform has the lock. Blocks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise RuntimeUnavailable(
                f"another platform uses {self.folder}; stop it, or take another data folder"
            ) from None
        self._lock = lock
        path = self.folder / "installation"
        if not path.exists() or place.is_copy(str(self.folder)):
            fresh = path.with_suffix(".new")
            fresh.write_text(secrets.token_hex(16))
            fresh.replace(path)
        place.settle(str(self.folder))
        self.id = path.read_text().strip()

    def close(self) -> None:
        """Let go of the lock; idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def label(self) -> str:
        """The label that finds everything of this installation."""
        return f"{INSTALLATION}={self.id}"


def slug(text: str) -> str:
    """Text as it may stand in names of an Engine: lower case, digits, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "app"


def container_name(spec: StartSpec, installation: str) -> str:
    """What ``docker ps`` shows: unique by the token, readable by the rest."""
    return f"moorings-{slug(spec.app)}-{slug(spec.class_name)}-{installation[:6]}-{slug(spec.token)}"


def labels(spec: StartSpec, installation: str) -> dict[str, str]:
    """All labels of a container: the class's own, and those that find it."""
    named = {} if spec.name is None else {NAME: spec.name}
    return {
        **{key: value for key, value in spec.labels.items() if not key.startswith(PREFIX)},
        **named,
        APP: spec.app,
        INSTALLATION: installation,
        CLASS: spec.class_name,
        OBJECT: spec.object_id,
        TOKEN: spec.token,
        PORTS: ",".join(map(str, dict.fromkeys(spec.ports))),
    }


def running(
    found: Mapping[str, str], addresses: Mapping[int, Address], *, started_at: float, pid: int | None
) -> Running:
    """An incarnation from the labels of its container."""
    return Running(
        token=found[TOKEN],
        class_name=found.get(CLASS, ""),
        object_id=found.get(OBJECT, ""),
        name=found.get(NAME),
        addresses={port: addresses[port] for port in ports(found)},
        started_at=started_at,
        pid=pid,
    )


def ports(found: Mapping[str, str]) -> tuple[int, ...]:
    """The declared ports."""
    return tuple(int(port) for port in found.get(PORTS, "").split(",") if port)
