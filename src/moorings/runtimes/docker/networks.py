"""The networks of an installation: made when they are needed first, removed when the last container is.

Four kinds, by what a class asks for: with a way out or internal (``enable_internet``), and with or without traffic
between containers (``sandbox["network"]``). A container's own address is dialled where its network's gateway is an
address of this machine; elsewhere (Docker Desktop, rootless or remote Engines) ports are published on the loopback.
"""

from __future__ import annotations

import asyncio
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
        self._known: dict[str, tuple[str, bool]] = {}
        self._making = asyncio.Lock()  # an Engine makes two of one name

    async def ensure(self, spec: StartSpec) -> tuple[str, bool]:
        """The id of the network for a container, and whether its addresses can be dialled.

        Raises RuntimeUnavailable, ContainerFailedToStart, Unreachable.
        """
        name = f"moorings-{slug(spec.app)}-{self._installation[:8]}"
        if not spec.enable_internet:
            name += "-internal"
        if spec.sandbox.network is Neighbours.OPEN:
            name += "-open"
        if name not in self._known:
            async with self._making:
                if name not in self._known:
                    self._known[name] = await self._make(name, spec)
        network, reachable = self._known[name]
        if not reachable and not spec.enable_internet:
            raise ContainerFailedToStart(
                "enable_internet = False needs an Engine whose containers can be dialled from here: an internal "
                "network has no published ports. Use Docker Engine on Linux, not Docker Desktop or rootless Docker"
            )
        return network, reachable

    def forget(self) -> None:
        """Somebody has removed a network: look again."""
        self._known.clear()

    async def _make(self, name: str, spec: StartSpec) -> tuple[str, bool]:
        engine = self._engine
        body: dict[str, Any] = {
            "Name": name,
            "Driver": "bridge",
            "Internal": not spec.enable_internet,
            "Labels": {APP: spec.app, INSTALLATION: self._installation},
        }
        if not engine.is_podman:
            body["Options"] = {_ICC: "true" if spec.sandbox.network is Neighbours.OPEN else "false"}
        try:
            with engine.translated():
                found = await engine.docker.networks.list(filters={"label": f"{INSTALLATION}={self._installation}"})
                ids = [each["Id"] for each in found if each["Name"] == name]
                network = await (engine.docker.networks.get(ids[0]) if ids else engine.docker.networks.create(body))
                shown = await network.show()
        except Refused as error:
            raise RuntimeUnavailable(
                f"the network {name} can't be made: {error.message}{_advice(error.message)}"
            ) from None
        return str(shown["Id"]), _is_here(shown)

    async def remove(self) -> None:
        """Remove those that no container is on. Raises Unreachable."""
        engine = self._engine
        self._known.clear()
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
