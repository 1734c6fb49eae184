"""A client of ``app/worker.py``: one container of it, seen from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.platform import Mode, Platform
from tests.support.raw import Answer, get
from tests.support.waiting import eventually
from tools.engine import Engine

WORKER = Path(__file__).with_name("app") / "worker.py"


def run_boxes(folder: Path, engine: Engine, mode: Mode = Mode.DEV) -> Platform:
    """The platform with ``app/worker.py``."""
    return Platform(WORKER, folder, mode=mode, engine=engine)


class Box:
    """A container with a name."""

    def __init__(self, platform: Platform, name: str, binding: str = "BOX") -> None:
        self.address = platform.address
        self.headers = [("X-Name", name), ("X-Class", binding)]

    async def get(self, path: str = "/", /, **query: str | int) -> Answer:
        """GET, on a connection of its own."""
        return await get(self.address, f"{path}?{urlencode(query)}" if query else path, self.headers, timeout=60.0)

    async def ask(self, path: str = "/", /, **query: str | int) -> Any:
        """The JSON that a GET is answered with."""
        answer = await self.get(path, **query)
        assert answer.status == 200, answer.text()
        return answer.json()

    async def exits(self, count: int) -> list[list[Any]]:
        """What ``on_exit`` was told, once that is so much."""

        async def told() -> list[list[Any]] | None:
            exits: list[list[Any]] = await self.ask("/-/exits")
            return exits if len(exits) >= count else None

        found = await eventually(told, f"on_exit has run {count} times", within=30.0)
        assert found is not None
        return found
