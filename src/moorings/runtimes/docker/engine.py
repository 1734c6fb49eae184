"""One connection to a Docker Engine: aiodocker, with its errors translated and its streams kept apart.

An ``Engine`` is good until it fails once: whoever meets ``Unreachable`` makes another. ``Refused`` is an answer of the
Engine that says no. Neither leaves this package.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp
from aiodocker import Docker
from aiodocker.containers import DockerContainer
from aiodocker.exceptions import DockerError

from moorings.runtimes.docker import locating

_NO_CONNECTION = 900  # aiodocker's status where there was no answer
_CONNECT = 5.0  # seconds until an address that doesn't answer counts as dead
_FIRST_ANSWER = 5.0  # seconds until an Engine that accepts a connection and says nothing counts as stuck


class Unreachable(Exception):
    """The Engine can't be reached, or went away; the message says what to do."""


class Refused(Exception):
    """The Engine said no. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """A connected Engine. ``info`` is what it says of itself (``docker info``)."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.info: Mapping[str, Any] = {}
        self.is_podman = False
        self.is_stuck = False
        """Whether it accepts connections and answers nothing."""
        # a followed log is a connection each: aiohttp's usual limit of 100 would be a limit of containers
        if host.startswith("unix://"):
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(host.removeprefix("unix://"), limit=0)
        else:
            context = locating.tls(os.environ)
            connector = aiohttp.TCPConnector(limit=0, ssl=context if context is not None else True)
            host = host.replace("tcp://", "https://" if context is not None else "http://")
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT)
        self.docker = Docker(url=host, connector=connector, timeout=self._timeout)
        if host.startswith("unix://"):
            self.docker.docker_host = "unix://localhost"  # what its URLs begin with; the connector knows the path

    @staticmethod
    async def connect(host: str, *, within: float = _FIRST_ANSWER) -> Engine:
        """Connect, and learn what it is, within some seconds. Raises Unreachable."""
        try:
            engine = Engine(host)
        except (OSError, ValueError) as error:
            raise Unreachable(locating.unreachable(host, error)) from None
        try:
            async with asyncio.timeout(within):
                with engine.translated():
                    version = await engine.docker.version()
                    engine.is_podman = any(
                        "podman" in str(part.get("Name")).lower() for part in version["Components"] or ()
                    )
                    engine.info = await engine.docker.system.info()
        except TimeoutError:
            await engine.close()
            raise Unreachable(locating.stuck(host)) from None
        except (Refused, KeyError, ValueError) as error:
            await engine.close()
            raise Unreachable(f"what answers at {host} is no Docker Engine: {error}") from None
        except BaseException:
            await engine.close()
            raise
        if engine.info.get("OSType", "linux") != "linux":
            await engine.close()
            raise Unreachable(
                f"the Docker Engine at {host} runs {engine.info['OSType']} containers; Linux ones are needed"
            )
        return engine

    async def close(self) -> None:
        """End every connection; idempotent."""
        await self.docker.close()
        await self.docker.session.close()
        await self._connector.close()

    async def give_up(self) -> None:
        """It is stuck: let everything that waits for it fail with Unreachable."""
        self.is_stuck = True
        ends = []
        for protocol in self._connector._acquired:
            if protocol.transport is not None and protocol.closed is not None:
                ends.append(protocol.closed)
                protocol.transport.abort()
        if ends:
            await asyncio.wait(ends)  # a stream that is closed before it has heard of its end never hears of it
        await self.close()

    async def ping(self) -> None:
        """Return when it has answered, whatever it says. Raises Unreachable."""
        with self.translated():
            response = await self.docker.session.get(f"{self.docker.docker_host}/_ping", timeout=self._timeout)
            response.close()

    @property
    def keeps_containers(self) -> bool:
        """Whether containers survive a restart of the Engine (live-restore; Podman has no daemon)."""
        return self.is_podman or bool(self.info.get("LiveRestoreEnabled"))

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Within, errors of the library come out as Unreachable and Refused."""
        try:
            yield
        except DockerError as error:
            if error.status == _NO_CONNECTION:
                raise self._unreachable(error.__context__ or error.message) from None
            raise Refused(error.status, str(error.message).strip()) from None
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise self._unreachable(error) from None
        except RuntimeError as error:
            if not self.docker.session.closed:  # aiohttp has no class of its own for this
                raise
            raise self._unreachable(error) from None

    def _unreachable(self, why: object) -> Unreachable:
        return Unreachable(locating.stuck(self.host) if self.is_stuck else locating.unreachable(self.host, why))

    def container(self, id: str) -> DockerContainer:
        """A container by its id or name; nothing is asked."""
        return self.docker.containers.container(id)

    async def create(self, config: Mapping[str, Any], *, name: str) -> str:
        """Create a container. Returns its id. Raises Refused, Unreachable."""
        with self.translated():
            created = await self.docker.containers.create(dict(config), name=name)
        return str(created.id)

    async def inspect(self, id: str) -> dict[str, Any]:
        """What the Engine knows of a container. Raises Refused, Unreachable."""
        with self.translated():
            shown: dict[str, Any] = await self.container(id).show()
        return shown

    async def list_containers(self, *labels: str) -> list[dict[str, Any]]:
        """Containers with labels, those that have ended included. Raises Refused, Unreachable."""
        filters = json.dumps({"label": list(labels)})
        with self.translated():
            found = await self.docker.containers.list(all=True, filters=filters)
        return [dict(each._container) for each in found]

    async def kill(self, id: str, signum: int) -> None:
        """Send a signal; nothing happens where the container has ended. Raises Refused, Unreachable."""
        with self.ignored(404, 409, 500), self.translated():
            await self.container(id).kill(signal=str(int(signum)))

    async def remove(self, id: str) -> None:
        """Remove a container with its anonymous volumes, whatever it is doing. Raises Refused, Unreachable."""
        with self.ignored(404, 409), self.translated():
            await self.container(id).delete(force=True, v=True)

    @contextlib.contextmanager
    def ignored(self, *statuses: int) -> Iterator[None]:
        """Within, refusals with these statuses are nothing."""
        try:
            yield
        except Refused as error:
            if error.status not in statuses:
                raise

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **params: str) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of an answer as it comes. Raises Refused, Unreachable, within the block as well."""
        with self.translated():
            response = await self._get("GET", path, params)
            try:
                yield response.content
            finally:
                response.close()

    async def exists_in(self, id: str, path: str) -> bool:
        """Whether a file is there in a container's file system. Raises Refused, Unreachable."""
        with self.translated():
            try:
                response = await self._get("HEAD", f"containers/{id}/archive", {"path": path})
            except Refused as error:
                if error.status == 404:
                    return False
                raise
            response.close()
            return True

    async def _get(self, method: str, path: str, params: Mapping[str, str]) -> aiohttp.ClientResponse:
        docker = self.docker
        url = f"{docker.docker_host}/{docker.api_version}/{path}"
        response = await docker.session.request(method, url, params=params, timeout=self._timeout)
        if response.status >= 400:
            text = (await response.read()).decode(errors="replace")
            response.close()
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = json.loads(text)["message"]
            raise Refused(response.status, text.strip())
        return response
