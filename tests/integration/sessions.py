"""A client of ``apps/sessions.py``: one container of it, seen from outside."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.integration.conftest import APPS
from tests.integration.places import place_of
from tests.support.platform import Mode, Platform
from tests.support.raw import Address, Answer, Connection, exchange, request
from tests.support.waiting import eventually
from tools.engine import Engine

PATIENCE = 60.0  # seconds: twenty containers that Docker starts at once take their time


@contextlib.contextmanager
def run_sessions(folder: Path, engine: Engine | None, mode: Mode = Mode.SERVE) -> Iterator[Platform]:
    """The platform with ``apps/sessions.py``, on Docker where there is an ``engine``; its files are in ``folder``."""
    files = folder / "files"
    files.mkdir(parents=True)
    env = {"TEST_FOLDER": str(files), **({} if engine is None else {"SESSIONS": "docker"})}
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if engine is None else engine.network():
            platform = Platform(APPS / "sessions.py", folder / "platform", mode=mode, env=env, engine=engine)
            stack.enter_context(platform)
        yield platform


class Named:
    """A container with a name of its own, of the class behind ``binding``."""

    def __init__(self, platform: Platform, binding: str = "SESSION") -> None:
        self.address: Address = platform.address
        self.name = secrets.token_hex(6)
        self.headers = [("X-Class", binding), ("X-Name", self.name)]
        self._place = place_of(platform, platform.folder.parent / "files")

    def request(self, target: str, method: str = "GET", body: bytes | None = None, **options: Any) -> bytes:
        """The bytes of a request to it."""
        return request(method, target, [*self.headers, *options.pop("headers", ())], body, **options)

    async def get(self, target: str = "/pid") -> Answer:
        """GET, on a connection of its own."""
        return await exchange(self.address, self.request(target), timeout=PATIENCE)

    async def who(self) -> str:
        """Who answers for it: its process, or its container, which is started if need be."""
        answer = await self.get("/pid")
        assert answer.status == 200, answer
        return answer.text()

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

    # --- behind the platform's back ---------------------------------------------------------------------------------

    def starts(self) -> list[str]:
        """Who was started for it, in order."""
        return self._place.starts(self.name)

    def running(self) -> list[str]:
        """Who runs for it."""
        return self._place.running(self.name)

    async def until_started(self) -> None:
        """Return once its program runs (it may not listen yet)."""

        async def started() -> bool:
            return bool(self.starts())

        await eventually(started, "the program was started", within=PATIENCE)

    def create(self, kind: str) -> None:
        """Open its ``gate``, or have it ``fixed``."""
        self._place.create(self.name, kind)

    def kill(self, who: str) -> None:
        """SIGKILL for who runs for it."""
        self._place.kill(who)

    async def inside(self) -> Connection:
        """A connection to its program that passes the platform by."""
        port = int((await self.get("/env")).json()["PORT"])
        return await Connection.open(self._place.address(self.name, port))
