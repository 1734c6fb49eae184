"""Programs that are run inside a container: ``Container.exec`` and ``exec_stream``.

Invariants: while one runs the container stays awake, as for a request; whoever asked for it going away ends it; what it
prints waits for whoever reads it, so memory stays bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from moorings.config.durations import seconds
from moorings.errors import ContainerFailedToStart, ContainerNotRunning, ExecOutputTooLarge, ExecTimeout
from moorings.objects.values import register_record
from moorings.runtimes.base import ExecProcess, ExecSpec, Terminal

if TYPE_CHECKING:
    from moorings.clock import TimerHandle
    from moorings.containers.controller import Controller

LARGEST_OUTPUT = 16 * 1024 * 1024
"""Bytes of both streams together that ``exec`` gathers; ``exec_stream`` has no limit."""

NOT_FOUND = 127
"""The exit code of a program that could not be started, as in a shell."""

register_record(Terminal)

Input = str | bytes | AsyncIterator[bytes | Terminal]
"""What a program reads. A Terminal among the chunks resizes the one that it runs on."""


@register_record
@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a program that was run in a container has ended, and what it has printed.

    ``exit_code`` is 128 + n where signal n ended it, and 127 where it could not be started; ``stderr`` says why then.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """``stdout`` as UTF-8; malformed bytes become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")


@register_record
@dataclass(frozen=True, slots=True)
class ExecEvent:
    """Something that a running program did: it printed ``data``, or, once and last, it ended with ``exit_code``."""

    type: Literal["stdout", "stderr", "exit"]
    data: bytes = b""
    exit_code: int | None = None


def exec_spec(cmd: Any, *, env: Any, cwd: Any, user: Any, tty: Any) -> ExecSpec:
    """What the arguments of ``exec`` mean, whatever their types. Raises TypeError and ValueError."""
    if not isinstance(cmd, Sequence) or isinstance(cmd, bytes):
        raise TypeError(f"cmd is a text, or a list of texts, not {cmd!r:.80}")
    command = ("sh", "-c", cmd) if cmd and isinstance(cmd, str) else tuple(cmd)
    if not command or not command[0]:
        raise ValueError("cmd is empty; write a shell command, or a list such as ['ls', '-l']")
    for argument in command:
        if not isinstance(argument, str):
            raise TypeError(f"cmd is a text, or a list of texts; {argument!r:.80} is none")
        _check_text("cmd", argument)
    if env is not None and not isinstance(env, Mapping):
        raise TypeError(f"env is a dict of texts, not {env!r:.80}")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env has texts; {name!r:.80}: {value!r:.80} has not")
        _check_text("env", name + value)
        if not name or "=" in name:
            raise ValueError(f"env has {name!r:.80}, which can't be the name of a variable")
    for what, text in (("cwd", cwd), ("user", user)):
        if text is not None and (not isinstance(text, str) or not text):
            raise TypeError(f"{what} is a text that isn't empty, not {text!r:.80}")
        _check_text(what, text or "")
    terminal = tty if isinstance(tty, Terminal) else Terminal() if tty else None
    return ExecSpec(command, dict(env or {}), cwd, user, terminal)


def _check_text(what: str, text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character")


async def exec_events(
    controller: Controller, spec: ExecSpec, stdin: Input | None, timeout: str | float | timedelta | None
) -> AsyncGenerator[ExecEvent, None]:
    """Run a program in a container, which is started where need be, and yield what it does.

    Raises what ``Controller.start`` does, ExecTimeout, and what ``stdin`` raises; TypeError and ValueError where the
    arguments don't fit.
    """
    limit = None if timeout is None else seconds(timeout)
    if stdin is not None and not isinstance(stdin, str | bytes | AsyncIterator):
        raise TypeError(f"stdin is a text, bytes or an async iterator of bytes, not {stdin!r:.80}")
    controller.activity.begin()
    try:
        incarnation = await controller.start()
        try:
            process = await controller.service.runtime.exec(incarnation.token, spec)
        except ContainerNotRunning:
            raise ContainerNotRunning(f"{controller.subject.label} has ended") from None
        except ContainerFailedToStart as error:
            yield ExecEvent("stderr", f"{error}\n".encode())
            yield ExecEvent("exit", exit_code=NOT_FOUND)
            return
        running = _Running(controller, process, stdin)
        try:
            running.begin(limit)
            async for stream, data in process.output():
                yield ExecEvent(stream, data)
            running.check()
            yield ExecEvent("exit", exit_code=await process.wait())
        finally:
            await running.end()
    finally:
        controller.activity.end()


class _Running:
    """A program that runs: its input is fed, its time is limited."""

    def __init__(self, controller: Controller, process: ExecProcess, stdin: Input | None) -> None:
        self._controller = controller
        self._process = process
        self._stdin = stdin
        self._feeding: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._limit: float | None = None
        self._is_over_time = False
        self._failure: Exception | None = None

    def begin(self, limit: float | None) -> None:
        """Feed it, and end it after ``limit`` seconds."""
        self._feeding = self._controller.tasks.spawn("stdin", self._feed())
        if limit is not None:
            self._limit = limit
            self._timer = self._controller.service.clock.call_later(limit, self._over_time)

    def check(self) -> None:
        """Its output has ended. Raises what ended it, if that wasn't the program itself."""
        if self._is_over_time:
            raise ExecTimeout(f"the command in {self._controller.subject.label} took over {self._limit:g} s")
        if self._failure is not None:
            raise self._failure

    async def end(self) -> None:
        """Kill what still runs, and let go of all."""
        if self._timer is not None:
            self._timer.cancel()
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        await self._process.close()

    def _over_time(self) -> None:
        self._is_over_time = True
        self._controller.tasks.spawn("exec timeout", self._process.close())

    async def _feed(self) -> None:
        stdin = self._stdin
        try:
            if isinstance(stdin, str | bytes):
                await self._process.write(stdin.encode() if isinstance(stdin, str) else stdin)
            elif stdin is not None:
                async for chunk in stdin:
                    if isinstance(chunk, Terminal):
                        await self._process.resize(chunk)
                    else:
                        await self._process.write(chunk)
            await self._process.write_eof()
        except Exception as error:  # noqa: BLE001  # whatever the user's iterator raises is raised to whoever reads
            self._failure = error
            await self._process.close()  # without the rest of its input it must not look as if it had ended by itself


async def exec_result(events: AsyncGenerator[ExecEvent, None]) -> ExecResult:
    """All that a program has printed, and its exit code.

    Raises ExecTimeout with what was printed until then, ExecOutputTooLarge, and what ``exec_events`` does.
    """
    printed: dict[str, Any] = {"stdout": bytearray(), "stderr": bytearray()}
    try:
        async for event in events:
            if event.exit_code is not None:
                return ExecResult(event.exit_code, bytes(printed["stdout"]), bytes(printed["stderr"]))
            printed[event.type] += event.data
            if len(printed["stdout"]) + len(printed["stderr"]) > LARGEST_OUTPUT:
                raise ExecOutputTooLarge(
                    f"the command printed over {LARGEST_OUTPUT // 1024**2} MiB and was ended; read it with exec_stream"
                )
    except ExecTimeout as error:
        error.stdout, error.stderr = bytes(printed["stdout"]), bytes(printed["stderr"])
        raise
    finally:
        await events.aclose()
    raise AssertionError("unreachable: the last event has the exit code")
