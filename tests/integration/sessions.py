"""A client of ``apps/sessions.py``: one container of it, seen from outside."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.conftest import APPS
from tests.support.platform import Mode, Platform
from tests.support.raw import Address, Answer, Connection, exchange, request
from tests.support.waiting import eventually


def run_sessions(folder: Path, mode: Mode = Mode.SERVE) -> Platform:
    """The platform with ``apps/sessions.py``; the containers' files are in ``folder``/files."""
    files = folder / "files"
    files.mkdir(parents=True)
    return Platform(APPS / "sessions.py", folder / "platform", mode=mode, env={"TEST_FOLDER": str(files)})


class Named:
    """A container with a name of its own, of the class behind ``binding``."""

    def __init__(self, platform: Platform, binding: str = "SESSION") -> None:
        self.address: Address = platform.address
        self.name = secrets.token_hex(6)
        self.headers = [("X-Class", binding), ("X-Name", self.name)]
        self._files = platform.folder.parent / "files"

    def request(self, target: str, method: str = "GET", body: bytes | None = None, **options: Any) -> bytes:
        """The bytes of a request to it."""
        return request(method, target, [*self.headers, *options.pop("headers", ())], body, **options)

    async def get(self, target: str = "/pid") -> Answer:
        """GET, on a connection of its own."""
        return await exchange(self.address, self.request(target))

    async def pid(self) -> int:
        """The id of its process, which is started if need be."""
        answer = await self.get("/pid")
        assert answer.status == 200, answer
        return int(answer.body)

    async def open(self, data: bytes) -> Connection:
        """A connection on which ``data`` was sent."""
        connection = await Connection.open(self.address)
        await connection.offer(data)
        return connection

    # --- what it is doing -------------------------------------------------------------------------------------------

    async def state(self) -> dict[str, Any]:
        """What ``get_state()`` tells."""
        state: dict[str, Any] = (await self.get("/-/state")).json()
        return state

    async def until(self, event: str, count: int = 1) -> list[list[Any]]:
        """Its diary, once it has ``event`` for the ``count``-th time. No request reaches the container for it."""
        answer = await self.get(f"/-/wait?event={event}&count={count}")
        assert answer.status == 200, answer
        diary: list[list[Any]] = answer.json()
        return diary

    async def until_asked(self, count: int) -> None:
        """Return once ``count`` requests to it have reached the worker."""
        assert (await self.get(f"/-/asked?count={count}")).status == 200

    async def until_it_sleeps(self, count: int = 1) -> None:
        """Return once it has slept for the ``count``-th time: it was idle, was stopped and has exited."""
        diary = await self.until("exit", count)
        assert [entry[0] for entry in diary] == ["start", "idle", "stop", "exit"] * count, diary

    async def until_served(self, condition: Callable[[dict[str, Any]], object], what: str) -> None:
        """Return once the program's record (``/peek``) fulfils ``condition``."""

        async def fulfilled() -> object:
            return condition((await self.get("/peek")).json())

        await eventually(fulfilled, what)

    # --- its files --------------------------------------------------------------------------------------------------

    def starts(self) -> list[int]:
        """The process id of each start, in order."""
        file = self._files / f"{self.name}.starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    async def until_started(self) -> None:
        """Return once its program runs (it may not listen yet)."""

        async def started() -> bool:
            return bool(self.starts())

        await eventually(started, "the program was started")

    def create(self, kind: str) -> None:
        """Open its ``gate``, or have it ``fixed``."""
        (self._files / f"{self.name}.{kind}").touch()

    @property
    def starts_file(self) -> Path:
        """A path that the environment of its processes, and of no other, has."""
        return self._files / f"{self.name}.starts"
