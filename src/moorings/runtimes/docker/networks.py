"""The networks of an installation: made when they are needed first, removed when the last container is.

Four kinds, by what a class asks for: with a way out or internal (``enable_internet``), and with or without traffic
between containers (``sandbox["network"]``). A container's own address is dialled where its network's gateway is an
address of this machine; elsewhere (Docker Desktop, rootless or remote Engines) ports are published on the loopback.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from moorings.errors import ContainerFailedToStart, RuntimeUnavailable
from moorings.runtimes.base import StartSpec
from moorings.runtimes.docker.engine import Engine, Refused
from moorings.runtimes.docker.identity import APP, INSTALLATION, slug
from moorings.runtimes.sandbox import Neighbours

_ICC = "com.docker.network.bridge.enable_icc"


class Networks:
    """The networks of one installation on one Engine."""

    def __init__(self, engine: Engine, installation: str) -> None:
        self._engine = engine
        self._installation = installation
        self._reachable: dict[str, bool] = {}

    async def ensure(self, spec: StartSpec) -> tuple[str, bool]:
        """The network for a container, and whether its addresses can be dialled.

        Raises RuntimeUnavailable, ContainerFailedToStart, Unreachable.
        """
        name = f"moorings-{slug(spec.app)}-{self._installation[:8]}"
        if not spec.enable_internet:
            name += "-internal"
        if spec.sandbox.network is Neighbours.OPEN:
            name += "-open"
        reachable = self._reachable.get(name)
        if reachable is None:
            reachable = self._reachable[name] = await self._make(name, spec)
        if not reachable and not spec.enable_internet:
            raise ContainerFailedToStart(
                "enable_internet = False needs an Engine whose containers can be dialled from here: an internal network has "
                "no published ports. Use Docker Engine on Linux, not Docker Desktop or rootless Docker"
            )
        return name, reachable

    def forget(self) -> None:
        """Somebody has removed a network: look again."""
        self._reachable.clear()

    async def _make(self, name: str, spec: StartSpec) -> bool:
        engine = self._engine
        options = {_ICC: "true" if spec.sandbox.network is Neighbours.OPEN else "false"}
        body = {
            "Name": name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "Internal": not spec.enable_internet,
            "Labels": {APP: spec.app, INSTALLATION: self._installation},
        }
        if not engine.is_podman:  # its bridges have another option for it
            body["Options"] = options
        elif spec.sandbox.network is not Neighbours.OPEN:
            body["Options"] = {"isolate": "true"}
        try:
            with engine.ignored(409), engine.translated():
                await engine.docker.networks.create(body)
            with engine.translated():
                shown = await (await engine.docker.networks.get(name)).show()
        except Refused as error:
            raise RuntimeUnavailable(f"the network {name} can't be made: {error.message}{_advice(error.message)}") from None
        return _is_here(shown)

    async def remove(self) -> None:
        """Remove those that no container is on. Raises Unreachable."""
        engine = self._engine
        self._reachable.clear()
        with contextlib.suppress(Refused), engine.translated():
            found = await engine.docker.networks.list(filters={"label": f"{INSTALLATION}={self._installation}"})
            for network in found:
                with engine.ignored(403, 404, 409, 500), engine.translated():
                    await (await engine.docker.networks.get(network["Id"])).delete()


def _is_here(network: Mapping[str, Any]) -> bool:
    """Whether a network's gateway is an address of this machine, so that its containers can be dialled."""
    for each in (network.get("IPAM") or {}).get("Config") or ():
        gateway = str(each.get("Gateway") or "").partition("/")[0]
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((gateway, 0))
            except (OSError, ValueError):
                continue
            return bool(gateway)
    return False


def _advice(message: str) -> str:
    if "address pool" in message:
        return ". The Engine has no subnet left: docker network prune, or more default-address-pools in daemon.json"
    if "inter-container" in message:
        return ". The kernel module br_netfilter is missing: sudo modprobe br_netfilter"
    return ""
