"""Reading what a container has printed, from the Engine's log of it."""

from __future__ import annotations

from moorings.runtimes.docker.engine import Engine
from moorings.runtimes.docker.reading import Stamped, stamped_lines


async def last_lines(engine: Engine, container: str, count: int) -> list[Stamped]:
    """The last ``count`` lines, oldest first. Raises Refused, Unreachable."""
    if count <= 0:
        return []
    params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": str(count)}
    lines: list[Stamped] = []
    async with engine.stream(f"containers/{container}/logs", **params) as stream:
        async for arrived in stamped_lines(stream):
            lines += arrived
    return lines[-count:]
