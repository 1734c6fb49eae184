"""A room: what one says, all hear."""

import asyncio
import os
import signal

from websockets.asyncio.server import ServerConnection, broadcast, serve

everybody: set[ServerConnection] = set()


async def talk(websocket):
    everybody.add(websocket)
    broadcast(everybody, f"{len(everybody)} here")
    try:
        async for message in websocket:
            broadcast(everybody, message)
    finally:
        everybody.discard(websocket)


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(talk, "0.0.0.0", int(os.environ["PORT"])):
        await stop.wait()


asyncio.run(main())
