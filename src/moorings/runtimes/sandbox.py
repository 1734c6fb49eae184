"""How much of its machine a container gets and what it may do there, for runtimes that isolate.

The instance types are Cloudflare's (developers.cloudflare.com/containers/platform-details/limits/): vCPU, memory in MiB
and disk in MB by name; ``dev`` and ``standard`` are the old names of ``lite`` and ``standard-1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MIB = 1024 * 1024
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class InstanceSize:
    """What a container gets: CPUs, memory and disk in bytes. None sets no limit."""

    vcpu: float | None
    memory: int | None
    disk: int | None


INSTANCE_TYPES: Mapping[str, InstanceSize] = {
    "lite": InstanceSize(1 / 16, 256 * MIB, 2000 * MB),
    "basic": InstanceSize(1 / 4, 1024 * MIB, 4000 * MB),
    "standard-1": InstanceSize(1 / 2, 4096 * MIB, 8000 * MB),
    "standard-2": InstanceSize(1, 6144 * MIB, 12_000 * MB),
    "standard-3": InstanceSize(2, 8192 * MIB, 16_000 * MB),
    "standard-4": InstanceSize(4, 12_288 * MIB, 20_000 * MB),
    "dev": InstanceSize(1 / 16, 256 * MIB, 2000 * MB),
    "standard": InstanceSize(1 / 2, 4096 * MIB, 8000 * MB),
}

DEFAULT_SIZE = InstanceSize(None, 4096 * MIB, None)
"""What a class without an instance type gets."""

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""The capabilities that are kept: common images change to a user of their own and own their files with these."""

DEFAULT_PROCESSES = 1024
"""How many processes and threads a container may have."""


class Neighbours(StrEnum):
    """Whether containers of the app reach each other's ports."""

    ISOLATED = "isolated"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a container may do.

    ``read_only`` is about its root file system; ``tmpfs`` has paths and their sizes in bytes; ``capabilities`` are kept
    besides ``CAPABILITIES``; ``processes`` counts threads as well.
    """

    read_only: bool = False
    tmpfs: tuple[tuple[str, int], ...] = ()
    capabilities: tuple[str, ...] = ()
    processes: int = DEFAULT_PROCESSES
    network: Neighbours = Neighbours.ISOLATED


DEFAULT_SANDBOX = Sandbox()
"""What a class that says nothing gets."""
