"""What the scripted fake runs inside its containers from outside: programs that follow steps, and read their input."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moorings.clock import Clock
from moorings.runtimes.base import ExecSpec, StartSpec, Stream, Terminal

if TYPE_CHECKING:
    from moorings.runtimes.fake_container import FakeContainer, Step

_ROOM = 64 * 1024  # bytes that a program may have printed before it is read from


@dataclass(frozen=True, slots=True)
class Echoes:
    """Copies its standard input to its standard output, to its end."""


@dataclass(frozen=True, slots=True)
class PrintsVariable:
    """Prints a variable of its environment; an empty line where it has none."""

    name: str


ExecStep = Echoes | PrintsVariable

StepsFor = Callable[[StartSpec, ExecSpec], "Sequence[Step | ExecStep]"]
"""What a program does; it runs on at the end of its steps."""


class Changes:
    """Wakes all who wait."""

    def __init__(self) -> None:
        self._coming: asyncio.Future[None] | None = None

    def tell(self) -> None:
        """Something is different."""
        coming, self._coming = self._coming, None
        if coming is not None and not coming.done():
            coming.set_result(None)

    async def next(self) -> None:
        """Return when something is different."""
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._coming)


class FakeProgram:
    """The ``ExecProcess`` of the fake."""

    def __init__(
        self, container: FakeContainer, spec: ExecSpec, steps: Sequence[Step | ExecStep], clock: Clock
    ) -> None:
        self.code: int | None = None
        self.terminals: list[Terminal] = []
        self._container = container
        self._env = {**container.spec.env, **spec.env}
        self._clock = clock
        self._changes = Changes()
        self._written: deque[tuple[Stream, bytes]] = deque()
        self._input = bytearray()
        self._is_input_over = False
        self._running = asyncio.get_running_loop().create_task(self._run(steps), name="fake program")
        container.guests.add(self)

    def end(self, code: int) -> None:
        """It is over: killed, or at its end."""
        if self.code is None:
            self.code = code
            self._container.guests.discard(self)
            self._changes.tell()

    async def _run(self, steps: Sequence[Step | ExecStep]) -> None:
        from moorings.runtimes.fake_container import Exits, Prints, Waits

        for step in steps:
            if self.code is not None:
                return
            match step:
                case Prints(line, stream):
                    await self._print(stream, line.encode() + b"\n")
                case Waits(seconds):
                    await self._clock.sleep(seconds)
                case PrintsVariable(name):
                    await self._print("stdout", self._env.get(name, "").encode() + b"\n")
                case Echoes():
                    await self._echo()
                case Exits(code, _):
                    self.end(code)
                case _:
                    raise NotImplementedError(f"a program that is run in a container can't do {step}")

    async def _print(self, stream: Stream, data: bytes) -> None:
        while sum(len(piece) for _, piece in self._written) > _ROOM and self.code is None:
            await self._changes.next()
        self._written.append((stream, data))
        self._changes.tell()

    async def _echo(self) -> None:
        while self._input or not self._is_input_over:
            if self._input:
                data = bytes(self._input)
                self._input.clear()
                await self._print("stdout", data)
            elif self.code is None:
                await self._changes.next()
            else:
                return

    # --- the seam

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        while self._written or self.code is None:
            if self._written:
                piece = self._written.popleft()
                self._changes.tell()
                yield piece
            else:
                await self._changes.next()

    async def write(self, data: bytes) -> None:
        while len(self._input) > _ROOM and self.code is None:
            await self._changes.next()
        self._input += data
        self._changes.tell()

    async def write_eof(self) -> None:
        self._is_input_over = True
        self._changes.tell()

    async def resize(self, terminal: Terminal) -> None:
        self.terminals.append(terminal)

    async def wait(self) -> int:
        while self.code is None:
            await self._changes.next()
        return self.code

    async def close(self) -> None:
        self.end(137)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
