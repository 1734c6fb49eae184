"""What containers have printed: from the Engine's log of a container, or from what was kept of one that is removed.

When an ended container is forgotten, its last lines are copied to a file of its object (``KEPT`` lines at most),
because its log goes with it. The file holds one incarnation; ``FILES`` objects have one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import msgspec

from moorings.runtimes.base import Follow, LogLine, LogSource, Stream
from moorings.runtimes.docker.engine import Engine
from moorings.runtimes.docker.identity import slug
from moorings.runtimes.docker.reading import Stamped, stamped_lines

KEPT = 2000
FILES = 500


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


async def read_log(
    engine: Engine, container: str, *, follow: Follow, tail: int | None, since: float | None
) -> AsyncGenerator[LogLine, None]:
    """The lines of a container that the Engine has. Raises Refused, Unreachable."""
    params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": "all" if tail is None else str(tail)}
    if follow is Follow.FOLLOW:
        params["follow"] = "1"
    elif tail == 0:
        return
    if since is not None:
        params["since"] = f"{since:.6f}"
    async with engine.stream(f"containers/{container}/logs", **params) as stream:
        async for arrived in stamped_lines(stream):
            for each in arrived:
                line = each.log_line()
                if since is None or line.at >= since:
                    yield line


class _Kept(msgspec.Struct, array_like=True):
    token: str
    at: float
    stream: Stream
    line: str


class KeptLogs:
    """The last lines of containers that are removed: a file an object, in a folder of their own. Methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0

    def write(self, class_name: str, object_id: str, token: str, lines: list[Stamped]) -> None:
        """Keep the lines of an incarnation in place of those of the last one. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        encoder = msgspec.json.Encoder()
        file = self._file(class_name, object_id)
        fresh = file.with_suffix(f".{os.getpid()}")
        with fresh.open("wb") as out:
            for each in lines:
                line = each.log_line()
                out.write(encoder.encode(_Kept(token, line.at, line.stream, line.line)) + b"\n")
        fresh.replace(file)
        self._written += 1
        if self._written % 100 == 1:
            self._tidy()

    def read(self, source: LogSource, *, tail: int | None, since: float | None) -> list[LogLine]:
        """The lines kept of an object, oldest first."""
        lines = [LogLine(kept.at, kept.stream, kept.line) for kept in self._read(source)]
        lines = [line for line in lines if since is None or line.at >= since]
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def _read(self, source: LogSource) -> Iterator[_Kept]:
        decoder = msgspec.json.Decoder(_Kept)
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            for text in self._file(source.class_name, source.object_id).read_bytes().splitlines():
                kept = decoder.decode(text)
                if source.token in (None, kept.token):
                    yield kept

    def _file(self, class_name: str, object_id: str) -> Path:
        return self._folder / f"{slug(class_name)}-{object_id}.log"

    def _tidy(self) -> None:
        """Remove the oldest files beyond ``FILES``."""
        with contextlib.suppress(OSError):
            files = sorted(self._folder.glob("*.log"), key=lambda file: file.stat().st_mtime, reverse=True)
            for file in files[FILES:]:
                file.unlink(missing_ok=True)
