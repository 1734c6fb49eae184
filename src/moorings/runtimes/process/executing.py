"""``exec`` of the process runtime: the platform's end of a program that runs in a container.

The platform makes the pipes, or the terminal, and hands one end of each to the supervisor, which starts the program:
what is read and written never passes through the supervisor, and a program that isn't read from waits. The connection
that asked for it stays open as long as the program may run: whoever asked being gone ends it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from moorings.errors import ContainerFailedToStart, ContainerNotRunning, RuntimeUnavailable
from moorings.runtimes.base import ExecSpec, Stream, Terminal
from moorings.runtimes.process import wire
from moorings.runtimes.process.paths import Layout, socket_address

_CHUNK: Final = 64 * 1024
_END_OF_FILE: Final = b"\x04"  # what a terminal in its usual mode takes for the end of the input
_STUCK: Final = 5.0  # seconds that a program which was killed gets to be gone


class Wires:
    """What a program reads from and writes to: the platform's ends and the program's. ``close`` both."""

    def __init__(self, terminal: Terminal | None) -> None:
        self.master: int | None = None
        self.reading: dict[int, Stream] = {}
        if terminal is not None:
            self.master, slave = os.openpty()
            set_size(self.master, terminal)
            self.theirs = [slave]
            self.reading[self.master] = "stdout"
            self.writing: int | None = self.master
        else:
            theirs, self.writing = os.pipe()
            out, out_theirs = os.pipe()
            err, err_theirs = os.pipe()
            self.theirs = [theirs, out_theirs, err_theirs]
            self.reading[out] = "stdout"
            self.reading[err] = "stderr"
        for descriptor in {*self.reading, self.writing}:
            os.set_blocking(descriptor, False)

    def close_theirs(self) -> None:
        """The program has its ends. Idempotent."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close_writing(self) -> None:
        """Nothing more is written; on a terminal it goes on being read from. Idempotent."""
        if self.writing is not None and self.writing != self.master:
            os.close(self.writing)
        self.writing = None

    def close_reading(self, descriptor: int) -> None:
        """One of the program's streams has ended."""
        if self.writing == descriptor:
            self.writing = None
        del self.reading[descriptor]
        self.master = None
        os.close(descriptor)

    def close(self) -> None:
        """Let go of all. Idempotent."""
        self.close_theirs()
        self.close_writing()
        for descriptor in list(self.reading):
            self.close_reading(descriptor)


class Program:
    """A program that runs in a container: the ``ExecProcess`` of this runtime."""

    def __init__(self, connection: socket.socket, wires: Wires, token: str) -> None:
        self._connection = connection
        self._wires = wires
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._frames = wire.Frames()
        self._received: deque[wire.Answer] = deque()
        self._watching: asyncio.Task[None] | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self, request: wire.Exec) -> None:
        """Have it started. Raises ContainerNotRunning, ContainerFailedToStart and RuntimeUnavailable."""
        frame = wire.frame(wire.ToSupervisor(1, request))
        try:
            sent = socket.send_fds(self._connection, [frame], self._wires.theirs)
            await self._loop.sock_sendall(self._connection, frame[sent:])
            answer = await self._receive()
        except OSError as error:
            raise RuntimeUnavailable("the supervisor went away") from error
        finally:
            self._wires.close_theirs()
        match answer:
            case wire.Spawned():
                self._watching = self._loop.create_task(self._watch(), name="moorings-exec")
            case wire.Absent():
                raise ContainerNotRunning("the container has ended")
            case wire.Refused(message):
                raise ContainerFailedToStart(f"the command could not be started: {message}")
            case _:
                raise RuntimeUnavailable("the supervisor went away, or is of an older release")

    async def _watch(self) -> None:
        """Wait for its end. Owned by ``_watching``, which ``close`` awaits."""
        try:
            answer = await self._receive()
            while answer is not None and not isinstance(answer, wire.Exited):
                answer = await self._receive()
        except (OSError, wire.FrameError, msgspec.MsgspecError):
            answer = None
        if isinstance(answer, wire.Exited):
            self._ended.set_result(answer.ending.code)
        else:
            self._ended.set_exception(RuntimeUnavailable("the supervisor went away, and the program with it"))
            self._ended.exception()  # nobody may be waiting for it
        for waiter in list(self._waiters):
            _wake(waiter)

    async def _receive(self) -> wire.Answer | None:
        """The next frame; None where the connection has ended."""
        while not self._received:
            data = await self._loop.sock_recv(self._connection, _CHUNK)
            if not data:
                return None
            for payload in self._frames.feed(data):
                self._received.append(msgspec.msgpack.decode(payload, type=wire.ToPlatform).body)
        return self._received.popleft()

    # --- streams ------------------------------------------------------------------------------------------------------

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        wires = self._wires
        while wires.reading:
            # All that it has written is there to be read when it has ended. Others that it left behind may hold its
            # pipes open; those of a terminal lose it with the program.
            last = self._ended.done() and wires.master is None
            progress = False
            for descriptor, stream in list(wires.reading.items()):
                try:
                    data = os.read(descriptor, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:  # EIO: nobody has the other side of the terminal any more
                    data = b""
                progress = True
                if data:
                    yield stream, data
                elif descriptor in wires.reading:
                    wires.close_reading(descriptor)
            if last and not progress:
                break
            if not progress:
                await self._readable(list(wires.reading))
        if self._ended.done():
            self._ended.result()

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._wires.writing is not None and not self._ended.done():
            descriptor = self._wires.writing
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                await self._writable(descriptor)
            except OSError:  # nobody reads it any more
                self._wires.close_writing()

    async def write_eof(self) -> None:
        if self._wires.master is not None:
            await self.write(_END_OF_FILE)
        else:
            self._wires.close_writing()

    async def resize(self, terminal: Terminal) -> None:
        if self._wires.master is not None:
            set_size(self._wires.master, terminal)

    async def _readable(self, descriptors: list[int]) -> None:
        """Return when one of these can be read from, or all is over."""
        with self._waiter() as waiter:
            for descriptor in descriptors:
                self._loop.add_reader(descriptor, _wake, waiter)
            try:
                await waiter
            finally:
                for descriptor in descriptors:
                    self._loop.remove_reader(descriptor)

    async def _writable(self, descriptor: int) -> None:
        """Return when this can be written to, or all is over."""
        with self._waiter() as waiter:
            self._loop.add_writer(descriptor, _wake, waiter)
            try:
                await waiter
            finally:
                self._loop.remove_writer(descriptor)

    @contextmanager
    def _waiter(self) -> Iterator[asyncio.Future[None]]:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        try:
            if self._watching is not None and not self._ended.done():
                with suppress(OSError):
                    await self._loop.sock_sendall(
                        self._connection, wire.frame(wire.ToSupervisor(2, wire.Kill(self._token)))
                    )
                await asyncio.wait([self._ended], timeout=_STUCK)
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.gather(self._watching, return_exceptions=True)
        finally:
            self._connection.close()  # the supervisor kills what still runs
            for descriptor in list(self._wires.reading):
                self._loop.remove_reader(descriptor)
            if self._wires.writing is not None:
                self._loop.remove_writer(self._wires.writing)
            self._wires.close()
            for waiter in list(self._waiters):
                _wake(waiter)


async def execute(layout: Layout, token: str, spec: ExecSpec) -> Program:
    """Run a program in a container. Raises what ``ContainerRuntime.exec`` does."""
    request = wire.Exec(
        token=token,
        command=[os.fsencode(argument) for argument in spec.command],
        env=_environment(spec),
        directory=os.fsencode(spec.directory or ""),
        user=spec.user,
        is_terminal=spec.terminal is not None,
    )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        _connect(connection, layout)
        program = Program(connection, Wires(spec.terminal), token)
    except OSError as error:
        connection.close()
        raise RuntimeUnavailable(f"the supervisor can't be reached: {error.strerror or error}") from error
    try:
        await program.start(request)
    except BaseException:
        await program.close()
        raise
    return program


def _environment(spec: ExecSpec) -> dict[bytes, bytes]:
    env = {os.fsencode(key): os.fsencode(value) for key, value in spec.env.items()}
    if spec.terminal is not None:
        env.setdefault(b"TERM", b"xterm")
    return env


def _connect(connection: socket.socket, layout: Layout) -> None:
    folder = os.open(layout.supervisor, os.O_RDONLY | os.O_CLOEXEC)
    try:
        connection.connect(socket_address(layout.socket, folder))
    finally:
        os.close(folder)


def set_size(descriptor: int, terminal: Terminal) -> None:
    """Tell a terminal, and by SIGWINCH what runs on it, how large it is."""
    size = struct.pack("HHHH", min(terminal.rows, 65535), min(terminal.columns, 65535), 0, 0)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
