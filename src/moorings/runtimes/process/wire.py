"""What the platform and its supervisor say to each other: length-prefixed msgpack over a Unix socket.

A frame is four bytes of length (little-endian) and one msgpack array ``[id, body]``. The platform numbers its
requests from 1; each is answered by exactly one frame of the same id. Frames of id 0 are pushed by the supervisor.
Bodies are maps with a ``type``, so that a platform and a supervisor of different releases understand each other:
unknown fields are skipped and missing ones have defaults. Whatever comes from or goes to the operating system
(arguments, environment, output) is bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

VERSION = 2
"""Raised when an old supervisor could misunderstand a new platform; the two then refuse each other with a sentence."""

MAX_FRAME = 64 * 1024 * 1024


class Body(msgspec.Struct, tag_field="type", gc=False):
    """Base of all bodies."""


class Incarnation(msgspec.Struct, gc=False):
    """One start of one container.

    ``ports`` maps declared to host ports, ``ticks`` is the start time of /proc/PID/stat.
    """

    token: str
    class_name: str
    object_id: str
    name: str | None
    ports: dict[int, int]
    started_at: float
    pid: int
    ticks: int
    paused: bool = False


class Ending(msgspec.Struct, gc=False):
    """How an incarnation ended; the fields of ``runtimes.base.Exit``."""

    code: int
    reason: str
    at: float


class Ended(msgspec.Struct, gc=False):
    """An incarnation and its end, kept until it is forgotten."""

    incarnation: Incarnation
    ending: Ending


# --- requests ---------------------------------------------------------------------------------------------------------


class Hello(Body, tag="hello"):
    """Always first. Answered by Welcome, or by Refused where another platform is connected."""

    version: int
    pid: int
    log_bytes: int
    log_files: int


class Start(Body, tag="start"):
    """Start a program. Answered by Started, or by Refused with a sentence; then nothing of it exists."""

    token: str
    app: str
    class_name: str
    object_id: str
    name: str | None
    entrypoint: list[bytes]
    directory: bytes
    ports: list[int]
    env: dict[bytes, bytes]
    path: bytes
    lang: bytes


class Signal(Body, tag="signal"):
    """Deliver a signal to a process group. Answered by Done, also where it has ended."""

    token: str
    signum: int


class Kill(Body, tag="kill"):
    """SIGKILL for a container's every process. Answered by Done at once; its Exited follows."""

    token: str


class Assign(Body, tag="assign"):
    """A container that was started without an object belongs to one from now on. Answered by Done."""

    token: str
    object_id: str
    name: str | None


class Pause(Body, tag="pause"):
    """Freeze a container's processes. Answered by Done when they have stopped."""

    token: str


class Unpause(Body, tag="unpause"):
    """Let them go on. Answered by Done."""

    token: str


class Discard(Body, tag="discard"):
    """Kill and forget without a word; answered by Done when nothing is left. For starts that were cancelled."""

    token: str


class Owns(Body, tag="owns"):
    """Does the listener behind a declared port belong to the container? Answered by Truth."""

    token: str
    port: int


class Tail(Body, tag="tail"):
    """The last lines of an incarnation. Answered by Lines."""

    token: str
    lines: int


class Forget(Body, tag="forget"):
    """Drop what is kept of an incarnation that ended. Answered by Done."""

    token: str


class Exec(Body, tag="exec"):
    """Run a program in a running container: the first and only request of a connection of its own.

    Its descriptors come with it (SCM_RIGHTS): a terminal, or stdin, stdout and stderr. Answered by Spawned, Absent or
    Refused; an Exited of the program follows. When the connection ends before, or at a Kill, the program is killed.
    """

    token: str
    command: list[bytes]
    env: dict[bytes, bytes]
    directory: bytes
    user: str | None
    is_terminal: bool


class Usage(Body, tag="usage"):
    """What does a container use? Answered by Used or Absent."""

    token: str


class Shutdown(Body, tag="shutdown"):
    """Kill and forget everything and exit. Answered by Done, after the exits, when nothing is left."""


Request = (
    Hello | Start | Signal | Kill | Assign | Pause | Unpause | Discard | Owns | Tail | Forget | Exec | Usage | Shutdown
)


# --- replies and events -----------------------------------------------------------------------------------------------


class Welcome(Body, tag="welcome"):
    """The supervisor's state at the moment of connecting; later changes follow as events."""

    version: int
    pid: int
    ticks: int
    running: list[Incarnation]
    ended: list[Ended]


class Refused(Body, tag="refused"):
    """The request failed; ``message`` is a sentence for people."""

    message: str


class Started(Body, tag="started"):
    """The program exists."""

    incarnation: Incarnation


class Done(Body, tag="done"):
    """Nothing to tell."""


class Truth(Body, tag="truth"):
    """Yes or no."""

    value: bool


class Lines(Body, tag="lines"):
    """Lines of output, oldest first."""

    lines: list[bytes]


class Absent(Body, tag="absent"):
    """There is no such container, or it has ended."""


class Spawned(Body, tag="spawned"):
    """A program runs in a container."""

    pid: int


class Used(Body, tag="used"):
    """What a container's processes use together: CPU seconds since its start, bytes of memory that are resident."""

    cpu: float
    memory: int
    processes: int


class Exited(Body, tag="exited"):
    """Pushed once per incarnation, after all of its output."""

    token: str
    ending: Ending


class Output(Body, tag="output"):
    """Pushed for whole lines.

    ``skipped`` lines before these were left out, because they came too fast; the log has them.
    """

    token: str
    stream: str
    lines: list[bytes]
    skipped: int = 0


Answer = Welcome | Refused | Started | Done | Truth | Lines | Absent | Spawned | Used | Exited | Output


class ToSupervisor(msgspec.Struct, array_like=True, gc=False):
    """A frame from the platform."""

    id: int
    body: Request


class ToPlatform(msgspec.Struct, array_like=True, gc=False):
    """A frame from the supervisor; id 0 is pushed."""

    id: int
    body: Answer


_encoder = msgspec.msgpack.Encoder()


def frame(message: ToSupervisor | ToPlatform) -> bytes:
    """One message as it goes on the wire."""
    payload = _encoder.encode(message)
    return len(payload).to_bytes(4, "little") + payload


class FrameError(Exception):
    """The other side does not speak this protocol."""


class Frames:
    """Cuts a byte stream into payloads."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each payload that is complete. Raises FrameError at an impossible length."""
        self._data += data
        position = 0
        available = len(self._data)
        try:
            while available - position >= 4:
                length = int.from_bytes(self._data[position : position + 4], "little")
                if length > MAX_FRAME:
                    raise FrameError(f"a frame of {length} bytes")
                if available - position - 4 < length:
                    return
                payload = bytes(self._data[position + 4 : position + 4 + length])
                position += 4 + length
                yield payload
        finally:
            del self._data[:position]
