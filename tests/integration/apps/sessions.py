"""Named containers of several kinds, chosen by headers, and a diary of their hooks that a client can wait for.

``X-Class`` and ``X-Name`` say which container gets a request. The worker answers ``/-/...`` itself: ``state`` is the
container's, ``stop`` stops it, ``wait`` waits until its diary has ``event`` for the ``count``-th time, ``asked`` for
the ``count``-th request.
"""

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAMS = Path(__file__).parents[2] / "support" / "programs"
FOLDER = Path(os.environ["TEST_FOLDER"])
ON_DOCKER = os.environ.get("SESSIONS") == "docker"


def run(program: str) -> list[str]:
    """The entrypoint that runs one of the programs."""
    path = PROGRAMS / program
    return ["python3", "-c", path.read_text()] if ON_DOCKER else [sys.executable, str(path)]


def file(name: str, kind: str) -> str:
    """The path, as the program of an object sees it, at which a test creates a file of a kind."""
    path = FOLDER / f"{name}.{kind}"
    if not ON_DOCKER:
        return str(path)
    return "/" if path.exists() else f"/{kind}"


class Diary:
    """What the hooks of each container noted, in order."""

    def __init__(self) -> None:
        self.entries: defaultdict[str, list[list[Any]]] = defaultdict(list)
        self.changed = asyncio.Event()

    def note(self, name: str, *entry: Any) -> None:
        self.entries[name].append(list(entry))
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, name: str, event: str, count: int) -> list[list[Any]]:
        while sum(entry[0] == event for entry in self.entries[name]) < count:
            await self.changed.wait()
        return self.entries[name]


DIARY = Diary()


class Session(Container):
    """Runs until it is stopped; STARTS_FILE and GATE_FILE are its own."""

    entrypoint = run("many_routes.py")
    default_port = 8080
    sleep_after: str = "1h"
    if ON_DOCKER:
        image = "python:3.11-slim"
        instance_get_timeout = "60s"  # of an Engine that is asked for many at once

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.name = str(ctx.id.name)
        self.env_vars = self.environment()

    def environment(self) -> dict[str, str]:
        """What the program is told."""
        return {} if ON_DOCKER else {"STARTS_FILE": str(FOLDER / f"{self.name}.starts")}

    def on_start(self) -> None:
        DIARY.note(self.name, "start")

    def on_stop(self) -> None:
        DIARY.note(self.name, "stop")

    def on_exit(self, exit_code: int, reason: str) -> None:
        DIARY.note(self.name, "exit", exit_code, reason)

    def on_activity_expired(self) -> bool:
        DIARY.note(self.name, "idle")
        return False


class Sleepy(Session):
    """Sleeps soon."""

    sleep_after = "0.3s"


class Gated(Sleepy):
    """Listens only once its gate is open, and sleeps soon."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "GATE_FILE": file(self.name, "gate")}


class Patient(Session):
    """Its program ends when all of its connections are closed."""

    stop_grace = "3s"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WAIT_FOR_CLIENTS": "1"}


class Safe(Gated):
    """As in examples/safe_startup: the first request starts the container, in a block; the others wait."""

    sleep_after = "1h"

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.initialized = False

    async def fetch(self, request: Request) -> Response:
        async def initialize() -> None:
            if not self.initialized:
                await self.start_and_wait_for_ports()
                self.initialized = True

        await self.ctx.block_concurrency_while(initialize)
        return await super().fetch(request)


class Broken(Gated):
    """Ends before it listens, once its gate is open."""

    entrypoint = run("dies_at_start.py")

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "FIXED_FILE": file(self.name, "fixed")}

    async def fetch(self, request: Request) -> Response:
        self.env_vars = self.environment()  # the files that were created since
        return await super().fetch(request)


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        name = request.headers["X-Name"]
        container = self.env[request.headers.get("X-Class", "SESSION")].get_by_name(name)
        if request.url.path == "/-/stop":
            await container.stop()
            return Response()
        if request.url.path == "/-/state":
            return Response.json(await container.get_state())
        if request.url.path == "/-/wait":
            query = request.url.query
            return Response.json(await DIARY.until(name, query["event"], int(query.get("count", "1"))))
        if request.url.path == "/-/asked":
            await DIARY.until(f"requests to {name}", "asked", int(request.url.query["count"]))
            return Response()
        DIARY.note(f"requests to {name}", "asked")
        response: Response = await container.fetch(request)
        return response
