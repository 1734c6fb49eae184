"""Whether a container listens on a port.

A container's own address is nobody else's, so a connection is proof. On a published port the Engine's proxy accepts
whether the container does or not: there it takes an answer, or silence, and not an end at once.
"""

from __future__ import annotations

import asyncio

from moorings.runtimes.base import Address

_QUESTION = b"HEAD / HTTP/1.1\r\nHost: container\r\nConnection: close\r\n\r\n"
_PATIENCE = 0.5  # seconds of silence after which a published port counts as listened to


async def listens(address: Address, *, published: bool) -> bool:
    """Whether something listens there."""
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    try:
        if not published:
            return True
        writer.write(_QUESTION)
        async with asyncio.timeout(_PATIENCE):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.transport.abort()
