"""The seam between containers and wherever they run.

A runtime starts programs, tells where their ports can be dialled, delivers signals and reports exits. It decides
nothing: states, retries, budgets and hooks belong to the ``containers`` layer. One start of one container is an
*incarnation*, known by its ``token``; a token is never used twice, so a late event of an old incarnation can never be
taken for the new one's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Literal, Protocol

from moorings.runtimes.sandbox import DEFAULT_SANDBOX, InstanceSize, Sandbox

Stream = Literal["stdout", "stderr"]


class ExitReason(StrEnum):
    """Why a container ended."""

    EXIT = "exit"  # the program returned
    SIGNAL = "signal"  # a signal ended it that the platform did not send as a kill
    OOM = "oom"  # the kernel killed it for its memory
    DESTROYED = "destroyed"  # the platform killed it (destroy, or the end of stop_grace)
    PLATFORM = "platform"  # its supervisor or engine went away with it


class OnClose(StrEnum):
    """What becomes of running containers when the runtime is closed."""

    KEEP = "keep"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a container's port can be dialled."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Exit:
    """How an incarnation ended.

    ``code`` is the exit code, or 128 + n where signal n ended it; ``at`` is in Unix seconds.
    """

    code: int
    reason: ExitReason
    at: float


@dataclass(frozen=True, slots=True)
class StartSpec:
    """Everything a runtime needs to start one incarnation.

    ``object_id`` is empty where it belongs to no object yet (a warm spare): see ``ContainerRuntime.assign``.
    """

    token: str
    app: str
    class_name: str
    object_id: str
    name: str | None
    entrypoint: tuple[str, ...]
    directory: Path
    ports: tuple[int, ...]  # declared ports; the first is the one that PORT names
    env: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    instance_type: str | None = None
    enable_internet: bool = True
    size: InstanceSize | None = None  # in place of the instance type's
    sandbox: Sandbox = DEFAULT_SANDBOX


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What a class's containers are made from: a ``folder`` with a Dockerfile, or an image by its ``reference``.

    ``variables`` are the build's arguments.
    """

    app: str
    class_name: str
    reference: str
    folder: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """An incarnation that exists. ``addresses`` has one entry per declared port; ``started_at`` is in Unix seconds."""

    token: str
    class_name: str
    object_id: str
    name: str | None
    addresses: Mapping[int, Address]
    started_at: float
    pid: int | None
    paused: bool = False


class Follow(Enum):
    """Whether reading logs ends with what there is, or goes on with what comes."""

    NO = "no"
    FOLLOW = "follow"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a container printed, without its line end; ``at`` is in Unix seconds."""

    at: float
    stream: Stream
    line: str


@dataclass(frozen=True, slots=True)
class LogSource:
    """Whose lines are read: those of an incarnation, or of an object's latest known one where ``token`` is None."""

    class_name: str
    object_id: str
    name: str | None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """What a container uses. Sizes in bytes, since its start for the network; None where the runtime can't tell.

    ``cpu_seconds`` is the CPU time used so far, by all its processes; ``memory_limit`` None means no limit.
    """

    cpu_seconds: float
    memory_bytes: int
    memory_limit: int | None
    network_received: int | None
    network_sent: int | None
    processes: int


@dataclass(frozen=True, slots=True)
class Terminal:
    """The size of a terminal, in characters."""

    rows: int = 24
    columns: int = 80


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A program to run inside a container.

    ``env`` comes on top of the container's own; ``directory`` is where it runs (a relative one counts from the
    container's own; None: there). ``user`` is a name or a number, with a group after a colon where wanted; None means
    the container's own. With ``terminal`` it runs on a pseudo-terminal, whose output comes as stdout.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    user: str | None = None
    terminal: Terminal | None = None


class ExecProcess(Protocol):
    """A program that runs inside a container, until it ends, its container does, or its caller closes it."""

    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """Both streams as they come; ends when both have ended. To be read once, and while it isn't, the program waits.

        Raises RuntimeUnavailable where the runtime goes away meanwhile.
        """

    async def write(self, data: bytes) -> None:
        """Write to its standard input; waits while the program doesn't read. What it can't take any more is dropped."""

    async def write_eof(self) -> None:
        """End its standard input. Idempotent. On a terminal, this is the end-of-file character."""

    async def resize(self, terminal: Terminal) -> None:
        """The terminal has another size; nothing happens where there is none."""

    async def wait(self) -> int:
        """Its exit code, or 128 + n where signal n ended it. Raises RuntimeUnavailable."""

    async def close(self) -> None:
        """Kill what still runs of it, and let go. Idempotent."""


@dataclass(frozen=True, slots=True)
class Found:
    """What ``open`` found: incarnations still running, and those that ended and were not forgotten.

    Among the latter are those that ended while nobody was connected.
    """

    running: Sequence[Running] = ()
    ended: Sequence[tuple[Running, Exit]] = ()


class RuntimeEvents(Protocol):
    """What a runtime reports, on the event loop's thread. None of these may raise or block."""

    def exited(self, token: str, exit: Exit) -> None:
        """Exactly once for each incarnation that ``start`` returned and for each that ``open`` found running.

        Never before that call has returned, and not after ``close``: an end that comes later is found by the next
        ``open``. All output the incarnation wrote has been delivered (and is in ``tail``) before.
        """

    def output(self, token: str, stream: Stream, line: str) -> None:
        """A line the container printed, without its line end. Lines past 16 KiB come in pieces.

        Output is shown as far as the platform can follow: where a container prints faster, lines are left out, and one
        line in brackets says how many. Bytes that are not UTF-8 are replaced.
        """

    def unavailable(self, reason: str) -> None:
        """The runtime lost its supervisor or engine; incarnations that died with it are reported as exits after this.

        The next ``start`` tries to reach or to start another.
        """


class ContainerRuntime(Protocol):
    """A place where containers run.

    Methods are called from the event loop's thread, after ``open`` and before ``close``.
    """

    def name_of(self, token: str) -> str:
        """What runs an incarnation: ``process``, ``docker``, ... as the command line names it."""

    async def open(self, events: RuntimeEvents) -> Found:
        """Connect, and report what is there. Raises RuntimeUnavailable."""

    async def close(self, containers: OnClose) -> None:
        """Disconnect; idempotent. With KILL, nothing of any container is left when this returns but its logs.

        The exits of those that ran are reported before it returns, and nothing of them is found by the next ``open``.
        """

    def turn(self, class_name: str) -> AbstractAsyncContextManager[object]:
        """To be held around ``start``: waits while as many starts are under way as the runtime does well at once.

        A start is given its time from its turn on, however many are before it.
        """

    async def start(self, spec: StartSpec) -> Running:
        """Return once the program exists (its ports need not accept yet).

        Raises ContainerFailedToStart where it can't be started (no such program, no such folder), ImageGone and
        RuntimeUnavailable. After an error nothing of the incarnation exists. Cancelling it leaves nothing either:
        what was started is killed.
        """

    async def signal(self, token: str, signum: int) -> None:
        """Deliver a signal to the whole container (its process group). Nothing happens where it has already ended."""

    async def kill(self, token: str) -> None:
        """SIGKILL for every process of the container; its exit is then reported with reason DESTROYED."""

    async def pause(self, token: str) -> None:
        """Freeze every process of the container: memory and connections are kept, no CPU is used. Idempotent.

        Signals wait until it is thawed, ``kill`` does not. Nothing happens where it has ended. Raises
        RuntimeUnavailable, also where this container can't be frozen; it may be frozen in part then, until ``unpause``.
        """

    async def unpause(self, token: str) -> None:
        """Thaw it. Idempotent; nothing happens where it has ended. Raises RuntimeUnavailable."""

    async def assign(self, token: str, object_id: str, name: str | None) -> None:
        """A container that was started without an object (its ``object_id`` is empty) belongs to one from now on.

        For whoever looks for an object's output; the store decides who owns a container, and a runtime that can't
        change what it noted at the start ignores it. Idempotent. Raises RuntimeUnavailable.
        """

    async def owns_listener(self, token: str, port: int) -> bool:
        """Whether the listener behind a declared port belongs to this container. True where that can't be otherwise."""

    async def tail(self, token: str, lines: int) -> tuple[str, ...]:
        """The last lines that the incarnation printed (both streams in order), oldest first; empty where unknown."""

    async def forget(self, token: str) -> None:
        """Drop what is kept of an ended incarnation (exit code, private folders). Its logs stay until rotated out."""

    def logs(
        self, source: LogSource, *, follow: Follow = Follow.NO, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        """What an object's container printed, oldest first; the last ``tail`` lines of it, from ``since`` (Unix
        seconds) on.

        Also after its end and after ``forget``, at least until the object's next start; nothing where the runtime has
        no lines (any more). With FOLLOW it goes on with what is printed, and ends with the incarnation. To be closed
        where it isn't read to its end (an async generator). Raises RuntimeUnavailable.
        """

    async def exec(self, token: str, spec: ExecSpec) -> ExecProcess:
        """Run a program inside a running container. It is killed when the container ends.

        Raises ContainerNotRunning, ContainerFailedToStart where it can't be started (no such program, folder or user)
        and RuntimeUnavailable. Cancelling it leaves nothing.
        """

    async def stats(self, token: str) -> Stats:
        """What a running container uses now. Raises ContainerNotRunning and RuntimeUnavailable."""
