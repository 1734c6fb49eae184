"""Echoes WebSocket messages."""

import asyncio
import os
import signal

from websockets.asyncio.server import ServerConnection, serve


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(echo, "127.0.0.1", int(os.environ["PORT"]), ping_interval=None):
        await stop.wait()


asyncio.run(main())
