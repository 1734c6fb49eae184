"""The supervisor's end of the one connection to a platform.

What is sent is queued and never waited for. Output is droppable: with 1 MiB queued it is left out (the log has it,
and how much is said with the next output that fits). Answers and exits are never dropped; while 4 MiB are queued no
further request is read, so that the queue is bounded by what the platform asks for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import msgspec

from moorings.runtimes.process.loop import READ, WRITE, Loop
from moorings.runtimes.process.wire import (
    Answer,
    Exited,
    FrameError,
    Frames,
    Output,
    ToPlatform,
    ToSupervisor,
    frame,
)

_OUTPUT_LIMIT = 1024 * 1024
_READ_LIMIT = 4 * 1024 * 1024
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Connection:
    """A platform that is connected, or a stranger that has not said hello yet."""

    __slots__ = (
        "_decoder",
        "_descriptors",
        "_events",
        "_frames",
        "_loop",
        "_on_closed",
        "_on_request",
        "_queue",
        "_skipped",
        "_socket",
        "pid",
    )

    def __init__(
        self,
        connected: socket.socket,
        loop: Loop,
        *,
        on_request: Callable[[Connection, ToSupervisor], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self.pid = 0  # of the platform, once it has said hello
        self._socket = connected
        self._loop = loop
        self._on_request = on_request
        self._on_closed = on_closed
        self._frames = Frames()
        self._decoder = msgspec.msgpack.Decoder(ToSupervisor)
        self._descriptors: list[int] = []  # sent along with a request of a stranger
        self._queue = bytearray()
        self._events = READ
        self._skipped: dict[tuple[str, str], int] = {}
        connected.setblocking(False)
        loop.add(connected.fileno(), READ, self._ready)

    @property
    def is_open(self) -> bool:
        return self._socket.fileno() >= 0

    def take_descriptors(self) -> list[int]:
        """The descriptors that came with the requests so far; the caller closes them."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def answer(self, request: int, body: Answer) -> None:
        """Answer a request."""
        self._send(ToPlatform(request, body))

    def exited(self, event: Exited) -> None:
        """Tell about an end, and before it how much output was left out since the last that was shown."""
        for stream in ("stdout", "stderr"):
            skipped = self._skipped.pop((event.token, stream), 0)
            if skipped:
                self._send(ToPlatform(0, Output(event.token, stream, [], skipped)))
        self._send(ToPlatform(0, event))

    def output(self, token: str, stream: str, lines: list[bytes], skipped: int) -> None:
        """Show lines, if the platform keeps up."""
        if len(self._queue) > _OUTPUT_LIMIT:
            key = (token, stream)
            self._skipped[key] = self._skipped.get(key, 0) + skipped + len(lines)
            return
        if self._skipped:
            skipped += self._skipped.pop((token, stream), 0)
        self._send(ToPlatform(0, Output(token, stream, lines, skipped)))

    def catch_up(self) -> None:
        """Read all that has come; where the other side has closed, this closes too."""
        while self.is_open and self._receive():
            pass

    def flush_and_close(self) -> None:
        """Send what is queued, waiting a second at most, and close."""
        if not self.is_open:
            return
        self._socket.settimeout(1.0)
        try:
            self._socket.sendall(self._queue)
        except OSError:
            self._queue.clear()
        self.close()

    def close(self) -> None:
        """Close and tell. Idempotent."""
        if not self.is_open:
            return
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._queue.clear()
        for descriptor in self.take_descriptors():
            os.close(descriptor)
        self._on_closed(self)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ and self.is_open:
            self._receive()

    def _receive_with_descriptors(self) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(self._socket, 64 * 1024, 3, _CLOSE_ON_EXEC)
        self._descriptors += descriptors
        return data

    def _receive(self) -> bool:
        """Read once. Whether there was something."""
        try:
            data = self._socket.recv(256 * 1024) if self.pid else self._receive_with_descriptors()
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        try:
            for payload in self._frames.feed(data):
                self._on_request(self, self._decoder.decode(payload))
                if not self.is_open:
                    return False
        except (FrameError, msgspec.MsgspecError) as error:
            os.write(2, f"closing a connection that sent nonsense: {error}\n".encode())
            self.close()
        return self.is_open

    def _send(self, message: ToPlatform) -> None:
        if not self.is_open:
            return
        self._queue += frame(message)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._queue:
                sent = self._socket.send(self._queue)
                del self._queue[:sent]
        except BlockingIOError:
            pass
        except OSError:
            # The platform went away; the loop will read the end of the stream, and close.
            self._queue.clear()
        self._watch()

    def _watch(self) -> None:
        events = 0
        if len(self._queue) < _READ_LIMIT:
            events |= READ
        if self._queue:
            events |= WRITE
        if events != self._events:
            self._events = events
            self._loop.change(self._socket.fileno(), events)
