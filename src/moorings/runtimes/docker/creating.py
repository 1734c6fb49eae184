"""What a container is made with: a StartSpec as the body of the Engine's ``POST /containers/create``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moorings.errors import ContainerFailedToStart
from moorings.runtimes.base import StartSpec
from moorings.runtimes.sandbox import CAPABILITIES, DEFAULT_SIZE, INSTANCE_TYPES, InstanceSize

_PLACEHOLDER = re.compile(r"\{port(?::(\d{1,5}))?\}")


def size_of(spec: StartSpec) -> InstanceSize:
    """What the container gets. Raises ContainerFailedToStart for a type that isn't one."""
    if spec.size is not None:
        return spec.size
    if spec.instance_type is None:
        return DEFAULT_SIZE
    known = INSTANCE_TYPES.get(spec.instance_type)
    if known is None:
        raise ContainerFailedToStart(
            f"{spec.class_name}.instance_type is {spec.instance_type!r}; there are {', '.join(INSTANCE_TYPES)}"
        )
    return known


def entrypoint(spec: StartSpec) -> list[str]:
    """The entrypoint with ``{port}`` and ``{port:8081}`` filled in. Raises ContainerFailedToStart."""

    def fill(match: re.Match[str]) -> str:
        port = int(match[1]) if match[1] else (spec.ports[0] if spec.ports else None)
        if port is None or port not in spec.ports:
            declared = ", ".join(map(str, spec.ports)) or "none"
            raise ContainerFailedToStart(
                f"entrypoint has {match[0]}, but the class doesn't declare it (ports: {declared})"
            )
        return str(port)

    return [_PLACEHOLDER.sub(fill, argument) for argument in spec.entrypoint]


def environment(spec: StartSpec) -> list[str]:
    """The variables: the class's, the ports, and who the container is. Ports are the container's own here."""
    env = dict(spec.env)
    for number, port in enumerate(dict.fromkeys(spec.ports)):
        if number == 0:
            env["PORT"] = str(port)
        env[f"PORT_{port}"] = str(port)
    identity = {
        "MOORINGS_TOKEN": spec.token,
        "MOORINGS_APP": spec.app,
        "MOORINGS_CLASS": spec.class_name,
        "MOORINGS_OBJECT_ID": spec.object_id,
        "MOORINGS_NAME": spec.name,
    }
    for key, value in identity.items():
        if not value or "\0" in value:  # a spare has no object yet; a variable can't hold NUL, a name can
            env.pop(key, None)
        else:
            env[key] = value
    return [f"{key}={value}" for key, value in env.items()]


def config(
    spec: StartSpec, *, labels: Mapping[str, str], network: str, publish: bool, log: str, with_quota: bool
) -> dict[str, Any]:
    """The body. ``publish`` gives each declared port one of the host's loopback; ``with_quota`` limits the disk."""
    size = size_of(spec)
    host: dict[str, Any] = {
        "Init": True,
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "CapAdd": sorted({*CAPABILITIES, *spec.sandbox.capabilities}),
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": spec.sandbox.processes,
        "ReadonlyRootfs": spec.sandbox.read_only,
        "Tmpfs": {path: f"rw,nosuid,nodev,size={room}" for path, room in spec.sandbox.tmpfs},
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": log, "Config": {"max-size": "10m", "max-file": "3"}},
        "OomScoreAdj": 500,  # where the host itself runs out, a container goes before the platform
    }
    if log == "local":
        host["LogConfig"]["Config"]["compress"] = "false"
    if size.vcpu is not None:
        host["NanoCpus"] = int(size.vcpu * 1_000_000_000)
    if size.memory is not None:
        host["Memory"] = host["MemorySwap"] = size.memory  # the same: no swap
    if size.disk is not None and with_quota and not spec.sandbox.read_only:
        host["StorageOpt"] = {"size": str(size.disk)}
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": environment(spec),
        "Labels": dict(labels),
        "HostConfig": host,
        "AttachStdout": False,
        "AttachStderr": False,
        "ExposedPorts": {f"{port}/tcp": {} for port in spec.ports},
    }
    if spec.entrypoint:
        body["Entrypoint"] = entrypoint(spec)
        body["Cmd"] = []
    if publish:
        host["PortBindings"] = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in spec.ports}
    return body
