"""Reads the attributes of a class that say how much of its machine a container gets, and what it may do there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorings.config.sizes import size
from moorings.runtimes.sandbox import (
    DEFAULT_PROCESSES,
    DEFAULT_SANDBOX,
    INSTANCE_TYPES,
    MB,
    MIB,
    InstanceSize,
    Neighbours,
    Sandbox,
)

INSTANCE_TYPE = f"one of {', '.join(INSTANCE_TYPES)}, or a table such as {{'vcpu': 1, 'memory': '2GiB', 'disk': '8GB'}}"
"""What ``instance_type`` is to be."""

SANDBOX = "a table with some of read_only, tmpfs, capabilities, processes and network"
"""What ``sandbox`` is to be."""

_SIZE_KEYS = {"vcpu", "memory", "disk", "memory_mib", "disk_mb"}
_SANDBOX_KEYS = {"read_only", "tmpfs", "capabilities", "processes", "network"}


@dataclass(frozen=True, slots=True)
class InstanceType:
    """``name`` is None for sizes of one's own."""

    name: str | None
    size: InstanceSize


def instance_type(value: Any) -> InstanceType | None:
    """A name of an instance type, or a table of sizes. Raises TypeError, ValueError."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if value not in INSTANCE_TYPES:
            raise ValueError
        return InstanceType(value, INSTANCE_TYPES[value])
    if not isinstance(value, Mapping):
        raise TypeError
    _no_others(value, _SIZE_KEYS)
    vcpu = value.get("vcpu")
    if vcpu is not None and (isinstance(vcpu, bool) or not isinstance(vcpu, int | float) or vcpu <= 0):
        raise ValueError("vcpu is a number of more than 0")
    memory = _amount(value, "memory", "memory_mib", MIB)
    if memory is not None and memory < 6 * MIB:
        raise ValueError("memory is at least 6MiB")
    disk = _amount(value, "disk", "disk_mb", MB)
    if disk is not None and disk < 1:
        raise ValueError("disk is more than 0")
    return InstanceType(None, InstanceSize(None if vcpu is None else float(vcpu), memory, disk))


def _amount(table: Mapping[str, Any], name: str, counted: str, unit: int) -> int | None:
    """An amount in bytes that is given as ``name``, a size, or as ``counted``, wrangler's whole number of ``unit``."""
    told, count = table.get(name), table.get(counted)
    if count is None:
        return None if told is None else size(told)
    if told is not None:
        raise ValueError(f"give {name} or {counted}, not both")
    if not isinstance(count, int):
        raise TypeError(f"{counted} is a whole number")
    return size(count) * unit


def sandbox(value: Any) -> Sandbox:
    """What a container may do. Raises TypeError, ValueError."""
    if value is None:
        return DEFAULT_SANDBOX
    if not isinstance(value, Mapping):
        raise TypeError
    _no_others(value, _SANDBOX_KEYS)
    read_only = value.get("read_only", False)
    if not isinstance(read_only, bool):
        raise TypeError("read_only is True or False")
    tmpfs = value.get("tmpfs") or {}
    if not isinstance(tmpfs, Mapping) or not all(isinstance(path, str) and path.startswith("/") for path in tmpfs):
        raise TypeError("tmpfs is a table of absolute paths and sizes, such as {'/tmp': '64MiB'}")
    capabilities = value.get("capabilities") or ()
    if isinstance(capabilities, str) or not all(isinstance(name, str) and name for name in capabilities):
        raise TypeError("capabilities is a list of names, such as ['NET_RAW']")
    processes = value.get("processes", DEFAULT_PROCESSES)
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise ValueError("processes is a whole number of at least 1")
    try:
        network = Neighbours(value.get("network", Neighbours.ISOLATED))
    except ValueError:
        raise ValueError("network is 'isolated' or 'open'") from None
    return Sandbox(
        read_only=read_only,
        tmpfs=tuple((path, size(room)) for path, room in sorted(tmpfs.items())),
        capabilities=tuple(sorted(name.upper().removeprefix("CAP_") for name in capabilities)),
        processes=processes,
        network=network,
    )


def _no_others(table: Mapping[str, Any], known: set[str]) -> None:
    others = [str(key) for key in table if key not in known]
    if others:
        raise ValueError(f"there is no {', '.join(others)} in it")
