"""What an Engine is like, for ``moorings doctor``: facts, and what to do about those that get in the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from moorings.runtimes.docker import locating
from moorings.runtimes.docker.engine import Engine, Unreachable


class Level(StrEnum):
    """How good or bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, in a sentence."""

    level: Level
    text: str


async def diagnose(host: str | None = None) -> list[Finding]:
    """Look at the Engine."""
    where = host or locating.locate(os.environ)
    try:
        engine = await Engine.connect(where)
    except Unreachable as error:
        return [Finding(Level.ERROR, str(error))]
    try:
        return findings(engine, where)
    finally:
        await engine.close()


def findings(engine: Engine, where: str) -> list[Finding]:
    """What can be said of a connected Engine."""
    info = engine.info
    kind = "Podman" if engine.is_podman else "Docker Engine"
    found = [
        Finding(
            Level.OK,
            f"{kind} {info.get('ServerVersion')} at {where}: {info.get('NCPU')} CPUs, "
            f"{int(info.get('MemTotal') or 0) // 1024**2} MiB of memory, storage driver {info.get('Driver')}",
        )
    ]
    if not engine.is_podman and not info.get("InitBinary"):
        found.append(Finding(Level.ERROR, "the Engine has no docker-init; install tini, or --init-path in dockerd"))
    if engine.is_podman:
        apart = "Podman can't keep containers of one network apart: those of the app reach each other's ports"
        found.append(Finding(Level.WARNING, apart))
    for key, what in (("MemoryLimit", "memory"), ("PidsLimit", "processes"), ("CPUCfsQuota", "CPU")):
        if info.get(key) is False:
            found.append(Finding(Level.WARNING, f"the Engine can't limit {what}: a cgroup controller is missing"))
    if not any("seccomp" in str(option) for option in info.get("SecurityOptions") or ()):
        found.append(Finding(Level.WARNING, "the Engine has no seccomp profile: containers may use every system call"))
    if not _has_quota(info.get("Driver"), info.get("DriverStatus") or []):
        found.append(
            Finding(
                Level.WARNING,
                "the storage driver has no quota, so disk limits of instance types don't hold; "
                'for code that isn\'t trusted: sandbox = {"read_only": True, "tmpfs": {"/tmp": "64MiB"}}',
            )
        )
    if not engine.keeps_containers:
        ends = 'a restart of dockerd ends all containers; {"live-restore": true} in daemon.json keeps them'
        found.append(Finding(Level.WARNING, ends))
    return found


def _has_quota(driver: object, status: list[list[str]]) -> bool:
    if driver in ("btrfs", "zfs"):
        return True
    return driver == "overlay2" and ["Backing Filesystem", "xfs"] in [list(each) for each in status]
