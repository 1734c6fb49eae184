"""Echo servers of WebSockets: in a container, in a worker, and in an object."""

from __future__ import annotations

from typing import Any

from moorings import Container, DurableObject, Request, Response, WebSocket, WorkerEntrypoint


class Echo(Container):
    image = "../../support/programs"
    entrypoint = ["python", "websocket_echo.py"]
    default_port = 3000

    async def inside(self) -> int:
        """Where the container listens, to be asked directly."""
        await self.start_and_wait_for_ports()
        incarnation = self._controller.incarnation
        assert incarnation is not None
        assert incarnation.running is not None
        return incarnation.running.addresses[3000].port

    async def refused(self, request: Request) -> Response:
        return await self.container_fetch(request)


class Room(DurableObject):
    """Counts the messages in its storage before it answers."""

    async def fetch(self, request: Request) -> Response:
        ws = request.accept_websocket()
        self.ctx.wait_until(self.talk(ws))
        return ws.response

    async def talk(self, ws: WebSocket) -> None:
        async for message in ws:
            count = (await self.ctx.storage.get("count") or 0) + 1
            self.ctx.storage.put("count", count)
            ws.send(f"{count}: {message!s}")


class Default(WorkerEntrypoint):
    async def fetch(self, request: Request) -> Response:
        echo: Any = self.env.ECHO.get_by_name("echo")
        match request.url.path:
            case "/inside":
                return Response(str(await echo.inside()))
            case "/python":
                ws = request.accept_websocket(protocols=("b", "a"))
                self.ctx.wait_until(self.echo(ws))
                return ws.response
            case "/object":
                return await self.env.ROOM.get_by_name("room").fetch(request)  # type: ignore[no-any-return]  # a stub
            case "/refused":
                return await echo.refused(request)  # type: ignore[no-any-return]  # a stub
        return await echo.fetch(request)  # type: ignore[no-any-return]  # a stub

    async def echo(self, ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)
