"""Containers with WebSockets that are stopped in several ways; ``/-/...`` is answered by the worker."""

from __future__ import annotations

from typing import Any

from moorings import Container, Request, Response, WorkerEntrypoint

DIARY: list[str] = []


class Silent(Container):
    """Says nothing when it is stopped."""

    image = "../../support/programs"
    entrypoint = ["python", "websocket_echo.py"]
    default_port = 3000

    def on_exit(self, exit_code: int, reason: str) -> None:
        DIARY.append(f"exit {reason}")


class Telling(Silent):
    def on_stop(self) -> None:
        DIARY.append(f"stop with {len(self.connections)}")
        for ws in self.connections:
            ws.close(1001, "Server shutting down")


class Stubborn(Telling):
    """Its program ignores SIGTERM."""

    env_vars = {"STUBBORN": "1"}
    stop_grace = 0.5


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        container: Any = getattr(self.env, request.headers.get("X-Class", "TELLING")).get_by_name("one")
        match request.url.path:
            case "/-/stop":
                await container.stop()
                return Response("stopping")
            case "/-/destroy":
                await container.destroy()
                return Response("destroyed")
            case "/-/diary":
                return Response.json(DIARY)
            case "/-/state":
                return Response.json(await container.get_state())
        return await container.fetch(request)  # type: ignore[no-any-return]  # a stub
