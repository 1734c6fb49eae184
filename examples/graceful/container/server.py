"""Echoes WebSocket messages, and ends when it is told to: after what it has begun is done."""

import asyncio
import os
import signal

from websockets.asyncio.server import serve


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(echo, "0.0.0.0", int(os.environ["PORT"])):
        await stop.wait()


asyncio.run(main())
