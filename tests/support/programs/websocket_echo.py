"""Echoes WebSocket messages; tells its process id to those who ask for ``/pid``."""

import asyncio
import os
import signal

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


def answer(websocket: ServerConnection, request: Request) -> Response | None:
    return websocket.respond(200, str(os.getpid())) if request.path == "/pid" else None


async def main() -> None:
    stop = asyncio.Event()
    if os.environ.get("STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    port = int(os.environ["PORT"])
    async with serve(echo, "127.0.0.1", port, process_request=answer, ping_interval=None):
        await stop.wait()


asyncio.run(main())
