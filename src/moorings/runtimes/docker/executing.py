"""Programs that run inside a container: the Engine's ``exec``, over a connection of its own.

The connection is hijacked after its head (docs.docker.com/reference/api/engine, ContainerExec): what is written is the
program's standard input, what is read its output, framed unless it has a terminal. The Engine can't kill such a
program; here that is done through its process. Where containers are not processes of this machine (Docker Desktop), it
carries a mark in its environment, by which a shell finds it inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from moorings.clock import Clock
from moorings.errors import ContainerFailedToStart, ContainerNotRunning, RuntimeUnavailable
from moorings.runtimes.base import ExecSpec, Stream, Terminal
from moorings.runtimes.docker import locating
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.incarnation import belongs
from moorings.runtimes.docker.reading import plain_frames

_CHUNK = 64 * 1024
_LONGEST = 0.05  # seconds between two looks at a program
_END = 5.0  # seconds that the end of a killed program is waited for: in an image without a shell it may not have been
_MARK = "MOORINGS_EXEC"
_KILL_MARKED = """for each in /proc/[0-9]*; do
  case "$(cat $each/environ 2>/dev/null)" in *$0*) kill -9 ${each#/proc/};; esac
done 2>/dev/null"""
_KILLED = 128 + signal.SIGKILL


async def execute(engine: Engine, container: str, spec: ExecSpec, clock: Clock, *, is_local: bool) -> Execution:
    """Start a program; ``is_local`` where the container's processes are this machine's.

    Raises ContainerNotRunning, ContainerFailedToStart, RuntimeUnavailable.
    """
    mark = None if is_local else secrets.token_hex(16)
    env = {**spec.env, **({} if mark is None else {_MARK: mark})}
    try:
        with engine.translated():
            made = await engine.container(container).exec(
                list(spec.command),
                stdin=True,
                tty=spec.terminal is not None,
                environment=env or None,
                workdir=spec.directory,
                user=spec.user or "",
            )
        execution = Execution(engine, container, made.id, spec, clock, mark)
        try:
            await execution.begin()
        except BaseException:
            await execution.close()
            raise
    except Refused as error:
        if error.status in (404, 409):
            raise ContainerNotRunning(f"nothing can be run in the container: {error.message}") from None
        raise ContainerFailedToStart(f"{spec.command[0]} could not be run: {error.message}") from None
    except (Unreachable, OSError) as error:
        raise RuntimeUnavailable(str(error)) from None
    return execution


class Execution:
    """One program inside a container."""

    def __init__(self, engine: Engine, container: str, id: str, spec: ExecSpec, clock: Clock, mark: str | None) -> None:
        self._engine = engine
        self._container = container
        self._id = id
        self._spec = spec
        self._clock = clock
        self._mark = mark
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        self._code: int | None = None
        self._ended = asyncio.Event()
        self._sent_eof = False

    async def begin(self) -> None:
        """Start it; returns when it runs or has run."""
        self._reader, self._writer = await _hijack(self._engine, self._id, tty=self._spec.terminal is not None)
        pause = 0.002
        while not (state := await self._state()).get("Pid") and state.get("Running", True):
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)
        if not state.get("Pid") and state.get("ExitCode"):
            raise ContainerFailedToStart(f"{self._spec.command[0]} could not be run: {await self._complaint()}")
        if self._spec.terminal is not None:
            await self.resize(self._spec.terminal)

    async def _complaint(self) -> str:
        buffer = bytearray(await self._reader.read())
        text = bytes(buffer) if self._spec.terminal is not None else b"".join(data for _, data in plain_frames(buffer))
        return text.decode(errors="replace").strip() or "the Engine doesn't say why"

    async def _state(self) -> dict[str, Any]:
        with self._engine.translated():
            shown: dict[str, Any] = await self._engine.docker._query_json(f"exec/{self._id}/json")
        return shown

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """See ``ExecProcess``."""
        buffer = bytearray()
        try:
            while chunk := await self._reader.read(_CHUNK):
                if self._spec.terminal is not None:
                    yield "stdout", chunk
                    continue
                buffer += chunk
                for piece in plain_frames(buffer):
                    yield piece
        except OSError:
            return

    async def write(self, data: bytes) -> None:
        """See ``ExecProcess``."""
        if self._writer is None or self._sent_eof or self._ended.is_set():
            return
        with contextlib.suppress(OSError):
            for at in range(0, len(data), _CHUNK):
                self._writer.write(data[at : at + _CHUNK])
                drained = asyncio.ensure_future(self._writer.drain())
                ended = asyncio.ensure_future(self._reader_ended())
                try:
                    await asyncio.wait([drained, ended], return_when=asyncio.FIRST_COMPLETED)
                    if not drained.done():
                        return
                    drained.result()
                finally:
                    for each in (drained, ended):
                        each.cancel()
                    await asyncio.gather(drained, ended, return_exceptions=True)

    async def _reader_ended(self) -> None:
        """Wait until the program is known to have ended, by asking now and then."""
        pause = 0.05
        while not self._reader.at_eof() and not self._ended.is_set():
            await self._clock.sleep(pause)
            if not await self._is_running():
                return
            pause = min(pause * 2, 1.0)

    async def _is_running(self) -> bool:
        try:
            return bool((await self._state()).get("Running"))
        except (Refused, Unreachable):
            return False

    async def write_eof(self) -> None:
        """See ``ExecProcess``."""
        if self._writer is None or self._sent_eof:
            return
        if self._spec.terminal is not None:
            await self.write(b"\x04")
        self._sent_eof = True
        if self._spec.terminal is None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write_eof()

    async def resize(self, terminal: Terminal) -> None:
        """See ``ExecProcess``."""
        if self._spec.terminal is not None:
            with contextlib.suppress(Refused, Unreachable), self._engine.translated():
                await self._engine.docker.containers.exec(self._id).resize(h=terminal.rows, w=terminal.columns)

    async def wait(self) -> int:
        """See ``ExecProcess``."""
        pause = 0.002
        while self._code is None:
            try:
                state = await self._state()
            except Refused:
                self._code = _KILLED  # its container is gone
                break
            except Unreachable as error:
                raise RuntimeUnavailable(str(error)) from None
            if not state.get("Running"):
                code = state.get("ExitCode")
                self._code = _KILLED if code is None else int(code)
                break
            await self._clock.sleep(pause)
            pause = min(pause * 1.3, _LONGEST)
        self._ended.set()
        return self._code

    async def close(self) -> None:
        """See ``ExecProcess``."""
        if self._code is None:
            try:
                state = await self._state()
                if state.get("Running") and state.get("Pid"):
                    async with asyncio.timeout(_END):
                        await self._kill(int(state["Pid"]))
                        await self.wait()
            except (Refused, Unreachable, RuntimeUnavailable, TimeoutError):
                self._code = _KILLED
        self._ended.set()
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _kill(self, pid: int) -> None:
        """Kill its process group: it leads one of its own. Elsewhere, all that has its mark."""
        if self._mark is not None:
            await self._run(["sh", "-c", _KILL_MARKED, f"{_MARK}={self._mark}"], user=self._spec.user or "")
        elif belongs(pid, self._container):
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            except PermissionError:
                pass
            else:
                return
            if inner := _pid_inside(pid):
                await self._run(["kill", "-9", f"-{inner}"], user="0")

    async def _run(self, command: list[str], *, user: str) -> None:
        with contextlib.suppress(Refused, Unreachable), self._engine.translated():
            killer = await self._engine.container(self._container).exec(command, user=user)
            await killer.start(detach=True)


def _pid_inside(pid: int) -> str:
    """The id that a process of this machine has in its container; empty where that can't be told."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((line.split()[-1] for line in file if line.startswith("NSpid:")), "")
    except OSError:
        return ""


async def _hijack(engine: Engine, id: str, *, tty: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Start an exec over a new connection. Raises OSError, Refused."""
    host = engine.host
    if host.startswith("unix://"):
        reader, writer = await asyncio.open_unix_connection(host.removeprefix("unix://"), limit=_CHUNK)
    else:
        place = urlsplit(host)
        context: ssl.SSLContext | None = locating.tls(os.environ)
        reader, writer = await asyncio.open_connection(place.hostname, place.port or 2375, ssl=context, limit=_CHUNK)
    body = json.dumps({"Detach": False, "Tty": tty}).encode()
    head = f"POST /{engine.docker.api_version}/exec/{id}/start HTTP/1.1\r\nHost: docker\r\n"
    head += "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.transport.abort()
        raise ConnectionResetError("the Engine ended the connection") from None
    status = int(answer.split(b" ", 2)[1])
    if status not in (101, 200):
        message = (await reader.read(_CHUNK)).decode(errors="replace")
        writer.transport.abort()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            message = json.loads(message[message.index("{") : message.rindex("}") + 1])["message"]
        raise Refused(status, message.strip())
    return reader, writer
