"""Containers that remember, print numbered lines, and say what became of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint

PROGRAM = Path(__file__).with_name("rememberer.py")


class Box(Container):
    """One program a name; its hooks are kept in the object's storage."""

    if os.environ.get("BOXES") == "docker":
        image = "python:3.11-slim"
        entrypoint = ["python3", "-ESI", "-c", PROGRAM.read_text(), "{port}", "0.0.0.0"]
        instance_type = {"memory": "64MiB"}
    else:
        entrypoint = [sys.executable, "-ESI", str(PROGRAM), "{port}", "127.0.0.1"]
    default_port = 3000
    sleep_after = "1h"
    stop_grace = "5s"
    warm_spares = int(os.environ.get("SPARES", "0"))

    def on_start(self) -> None:
        self._happened("start")

    def on_exit(self, exit_code: int, reason: str) -> None:
        self._happened(f"exit {exit_code} {reason}")

    def _happened(self, what: str) -> None:
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS history (n INTEGER PRIMARY KEY, what TEXT)")
        sql.exec("INSERT INTO history (what) VALUES (?)", what)

    def history(self) -> list[Any]:
        """What happened, in order."""
        sql = self.ctx.storage.sql
        sql.exec("CREATE TABLE IF NOT EXISTS history (n INTEGER PRIMARY KEY, what TEXT)")
        return [what for (what,) in sql.exec("SELECT what FROM history ORDER BY n").raw()]

    async def printed(self) -> list[str]:
        """What the program has printed."""
        return [each.line async for each in self.logs()]


class Default(WorkerEntrypoint):
    """``/NAME`` asks the container; ``/NAME/`` with history, state, printed, stop or destroy starts nothing."""

    async def fetch(self, request: Request) -> Response:
        _, name, *what = request.url.path.split("/")
        box = self.env.BOX.get_by_name(name)
        match what:
            case ["history"]:
                return Response.json(await box.history())
            case ["state"]:
                return Response.json(await box.get_state())
            case ["printed"]:
                return Response.json(await box.printed())
            case ["stop"]:
                await box.stop()
                return Response.json("stopping")
            case ["destroy"]:
                await box.destroy()
                return Response.json("destroyed")
        answer: Response = await box.fetch(request)
        return answer
