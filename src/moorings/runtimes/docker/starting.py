"""One start on the Engine: create, check the program, start, and look where it is."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from moorings.errors import ContainerFailedToStart, ImageGone
from moorings.runtimes.base import Address, Running, StartSpec
from moorings.runtimes.docker import creating, identity
from moorings.runtimes.docker.ends import unix_time
from moorings.runtimes.docker.engine import Engine, Refused
from moorings.runtimes.docker.networks import Networks

NOWHERE = Address("127.0.0.1", 0)
"""The address of a port of a container that has ended: nothing can be dialled there."""


class NetworkGone(Exception):
    """The network that a container was to be on isn't there any more; the next attempt makes it anew."""


class Starter:
    """Starts containers of one installation on one Engine."""

    def __init__(self, engine: Engine, networks: Networks, installation: str) -> None:
        self._engine = engine
        self._networks = networks
        self._installation = installation
        self._log = "json-file" if engine.is_podman else "local"
        self._with_quota = True
        self._programs: set[tuple[str, str]] = set()

    async def create(self, spec: StartSpec) -> str:
        """Create the container. Returns its id.

        Raises NetworkGone, ImageGone, ContainerFailedToStart, RuntimeUnavailable, Unreachable.
        """
        if not spec.image:
            raise ContainerFailedToStart(f"{_label(spec)} has no image, which Docker needs: image = './folder'")
        network, reachable = await self._networks.ensure(spec)
        body = creating.config(
            spec,
            labels=identity.labels(spec, self._installation),
            network=network,
            publish=not reachable,
            log=self._log,
            with_quota=self._with_quota,
        )
        try:
            return await self._engine.create(body, name=identity.container_name(spec, self._installation))
        except Refused as error:
            if "storage-opt" in error.message and self._with_quota:
                self._with_quota = False
                return await self.create(spec)
            self._check_network(spec, error)
            raise _not_created(spec, error) from None

    async def start(self, spec: StartSpec, container: str) -> Running:
        """Start a created container. Raises NetworkGone, ContainerFailedToStart, Unreachable."""
        engine = self._engine
        if spec.entrypoint:
            await self._check_program(spec, container)
        try:
            with engine.translated():
                await engine.container(container).start()
        except Refused as error:
            self._check_network(spec, error)
            raise ContainerFailedToStart(f"{_label(spec)} could not be started: {error.message}") from None
        try:
            shown = await engine.inspect(container)
        except Refused as error:
            raise ContainerFailedToStart(f"{_label(spec)} was removed while it was started: {error.message}") from None
        return running_of(shown)

    def _check_network(self, spec: StartSpec, error: Refused) -> None:
        """Raises NetworkGone where that is what the Engine says: ``docker network prune`` takes those of sleepers."""
        if error.status == 404 and "network" in error.message and "image" not in error.message.lower():
            self._networks.forget()
            raise NetworkGone(f"{_label(spec)} could not be started: {error.message}") from None

    async def _check_program(self, spec: StartSpec, container: str) -> None:
        """With an init process a program that isn't there would be an end, not a failure to start."""
        program = creating.entrypoint(spec)[0]
        if (str(spec.image), program) in self._programs:
            return
        shown = await self._engine.inspect(container)
        settings = shown["Config"]
        variables = dict(each.partition("=")[::2] for each in settings.get("Env") or ())
        path = variables.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        folder = settings.get("WorkingDir") or "/"
        candidates = [program] if "/" in program else [f"{each}/{program}" for each in path.split(":") if each]
        for candidate in candidates:
            if await self._engine.exists_in(container, posixpath.join(folder, candidate)):
                self._programs.add((str(spec.image), program))
                return
        where = f"in the folder {folder}" if "/" in program else f"on its PATH ({path})"
        raise ContainerFailedToStart(
            f"{_label(spec)} could not be started: there is no program {program} in the image {spec.image}, {where}"
        )


def running_of(shown: Mapping[str, Any]) -> Running:
    """An incarnation from what the Engine shows of its container."""
    state, labels = shown["State"], shown["Config"]["Labels"]
    ports = identity.ports(labels)
    addresses = dict.fromkeys(ports, NOWHERE)
    settings = shown.get("NetworkSettings") or {}
    published = settings.get("Ports") or {}
    ip = next((one["IPAddress"] for one in (settings.get("Networks") or {}).values() if one.get("IPAddress")), "")
    for port in ports:
        bound = published.get(f"{port}/tcp")
        if bound:
            addresses[port] = Address(bound[0].get("HostIp") or "127.0.0.1", int(bound[0]["HostPort"]))
        elif ip:
            addresses[port] = Address(ip, port)
    try:
        started_at = unix_time(state["StartedAt"])
    except (KeyError, ValueError):
        started_at = 0.0
    found = identity.running(labels, addresses, started_at=started_at, pid=state.get("Pid") or None)
    return replace(found, paused=bool(state.get("Paused")))


def _label(spec: StartSpec) -> str:
    return f"{spec.class_name}/{spec.name if spec.name is not None else spec.object_id[:12]}"


def _not_created(spec: StartSpec, error: Refused) -> ContainerFailedToStart:
    begin = f"{_label(spec)} could not be started: "
    if error.status == 404 and "image" in error.message.lower():
        return ImageGone(f"{begin}there is no image {spec.image} on the Engine any more: {error.message}")
    if error.status == 409:
        return ContainerFailedToStart(f"{begin}the token {spec.token} was used before")
    return ContainerFailedToStart(begin + error.message)
