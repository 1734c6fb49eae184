"""One adapter per runtime, so that a single suite can hold all of them to the seam.

A ``Lab`` is a place where containers run, with a new runtime object for each ``runtime()``; it makes specs of
programs that follow steps. The steps are the scripted fake's; a real runtime runs ``runtime_program.py`` with them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from moorings.clock import SystemClock
from moorings.errors import ContainerFailedToStart
from moorings.runtimes.base import ContainerRuntime, ExecSpec, Exit, Found, OnClose, StartSpec, Stream
from moorings.runtimes.docker.runtime import DockerRuntime, DockerSettings
from moorings.runtimes.fake import Exits, FakeMachine, FakeRuntime, Listens, Prints, Script, Step, StopsListening, Waits
from moorings.runtimes.fake_exec import Echoes, ExecStep, PrintsVariable
from moorings.runtimes.process import ProcessRuntime, ProcessSettings
from tools.engine import Engine, base_image

PROGRAM = Path(__file__).with_name("runtime_program.py")
OnSignal = Mapping[int, Sequence[Step]]


@dataclass(frozen=True)
class Reported:
    """One call of an event method, in the order in which they came."""

    kind: str
    token: str
    value: Any


class Events:
    """Records what a runtime reports, and lets a test wait for it."""

    def __init__(self) -> None:
        self.log: list[Reported] = []
        self._changed = asyncio.Event()

    def exited(self, token: str, exit: Exit) -> None:
        self._note("exited", token, exit)

    def output(self, token: str, stream: Stream, line: str) -> None:
        self._note("output", token, (stream, line))

    def unavailable(self, reason: str) -> None:
        self._note("unavailable", "", reason)

    def _note(self, kind: str, token: str, value: object) -> None:
        self.log.append(Reported(kind, token, value))
        self._changed.set()

    def exits(self, token: str) -> list[Exit]:
        """The exits reported for a token; more than one is a mistake."""
        return [each.value for each in self.log if each.kind == "exited" and each.token == token]

    def lines(self, token: str, stream: Stream | None = None) -> list[str]:
        """The lines reported for a token, of one stream or of both."""
        shown = [each.value for each in self.log if each.kind == "output" and each.token == token]
        return [line for name, line in shown if stream in (None, name)]

    async def exit_of(self, token: str, *, within: float = 20.0) -> Exit:
        """The exit of a token, as soon as it is reported."""
        async with asyncio.timeout(within):
            while not self.exits(token):
                await self.change()
        return self.exits(token)[0]

    async def line(self, token: str, line: str, *, within: float = 20.0) -> None:
        """Return when a line was reported."""
        async with asyncio.timeout(within):
            while line not in self.lines(token):
                await self.change()

    async def unavailability(self, *, within: float = 20.0) -> str:
        """The reason given for being unavailable, as soon as it is."""
        async with asyncio.timeout(within):
            while not (reasons := [each.value for each in self.log if each.kind == "unavailable"]):
                await self.change()
        return str(reasons[0])

    async def change(self) -> None:
        """Return when something more was reported."""
        self._changed.clear()
        await self._changed.wait()


class Lab(Protocol):
    """A place where containers run."""

    def runtime(self) -> ContainerRuntime:
        """A new runtime object for this place, not open."""

    def spec(self, *steps: Step, ports: Sequence[int] = (), on_signal: OnSignal | None = None) -> StartSpec:
        """A program that follows steps, with a token of its own; its ports echo."""

    def impossible(self) -> StartSpec:
        """A program that does not exist."""

    def program(self, *steps: Step | ExecStep) -> ExecSpec:
        """A program that follows steps, to be run inside any container of this place."""

    async def clean_up(self) -> None:
        """Leave nothing."""


class _Specs:
    """Numbers the containers; tokens are unique on the machine, where tests run side by side."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._mark = secrets.token_hex(8)

    def make(self, entrypoint: Sequence[str], ports: Sequence[int], directory: Path) -> StartSpec:
        number = next(self._count)
        return StartSpec(
            token=f"{self._mark}-{number}",
            app="contract",
            class_name="Thing",
            object_id=f"{number:064x}",
            name=f"thing {number}/ü",
            entrypoint=tuple(entrypoint),
            directory=directory,
            ports=tuple(ports),
        )


class FakeLab:
    """The scripted fake."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._specs = _Specs()
        self._scripts: dict[str, Script] = {}
        self._programs: list[Sequence[Step | ExecStep]] = []
        self.machine = FakeMachine(SystemClock(), lambda spec: self._scripts[spec.token])
        self.machine.execs = self._steps_of

    def runtime(self) -> ContainerRuntime:
        return FakeRuntime(self.machine)

    def spec(self, *steps: Step, ports: Sequence[int] = (), on_signal: OnSignal | None = None) -> StartSpec:
        spec = self._specs.make(["scripted"], ports, self._folder)
        self._scripts[spec.token] = Script(
            _echoing(steps),
            {signum: _echoing(each) for signum, each in (on_signal or {}).items()},
            start_takes=0.01,
        )
        return spec

    def impossible(self) -> StartSpec:
        spec = self.spec()
        self._scripts[spec.token] = Script(fails="there is no program no-such-program")
        return replace(spec, entrypoint=("no-such-program",))

    def program(self, *steps: Step | ExecStep) -> ExecSpec:
        self._programs.append(steps)
        return ExecSpec(("scripted", str(len(self._programs) - 1)))

    def _steps_of(self, start: StartSpec, spec: ExecSpec) -> Sequence[Step | ExecStep]:
        program, *arguments = spec.command
        if program != "scripted":
            raise ContainerFailedToStart(f"there is no program {program}")
        return self._programs[int(arguments[0])]

    async def clean_up(self) -> None:
        self.machine.clear()
        runtime = FakeRuntime(self.machine)
        await runtime.open(Events())
        await runtime.close(OnClose.KILL)


def _echoing(steps: Sequence[Step]) -> list[Step]:
    return [Listens(step.port, _echo) if isinstance(step, Listens) else step for step in steps]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class ProcessLab:
    """Local processes."""

    def __init__(self, folder: Path, settings: ProcessSettings | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.settings = settings or ProcessSettings(linger=0.5)
        self._specs = _Specs()

    def runtime(self) -> ProcessRuntime:
        return ProcessRuntime(self.data, clock=SystemClock(), settings=self.settings)

    def spec(self, *steps: Step, ports: Sequence[int] = (), on_signal: OnSignal | None = None) -> StartSpec:
        return self.command(sys.executable, "-I", "-S", str(PROGRAM), _script(steps, on_signal), ports=ports)

    def command(self, *entrypoint: str, ports: Sequence[int] = (), directory: Path | None = None) -> StartSpec:
        """Any program."""
        return self._specs.make(entrypoint, ports, directory or self.folder)

    def impossible(self) -> StartSpec:
        return self.command("no-such-program")

    def program(self, *steps: Step | ExecStep) -> ExecSpec:
        script = {"steps": [_plain(step) for step in steps], "on_signal": {}}
        return ExecSpec((sys.executable, "-I", "-S", str(PROGRAM), json.dumps(script)))

    async def clean_up(self) -> None:
        runtime = self.runtime()
        await runtime.open(Events())
        await runtime.close(OnClose.KILL)


def _script(steps: Sequence[Step], on_signal: OnSignal | None) -> str:
    """What ``runtime_program.py`` takes."""
    signals = {int(signum): [_plain(step) for step in each] for signum, each in (on_signal or {}).items()}
    return json.dumps({"steps": [_plain(step) for step in steps], "on_signal": signals})


def _plain(step: Step | ExecStep) -> list[object]:
    match step:
        case Prints(line, stream):
            return ["prints", line, stream]
        case Waits(seconds):
            return ["waits", seconds]
        case Listens(port, _):
            return ["listens", port]
        case Exits(code, _):
            return ["exits", code]
        case Echoes():
            return ["echoes"]
        case PrintsVariable(name):
            return ["prints_variable", name]
        case StopsListening():
            raise NotImplementedError


class DockerLab:
    """Containers of a private Docker Engine. It must be used inside the Engine's network."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self._specs = _Specs()

    def runtime(self) -> DockerRuntime:
        return DockerRuntime(
            self.folder / "docker", clock=SystemClock(), settings=DockerSettings(host=self.engine.host)
        )

    def spec(self, *steps: Step, ports: Sequence[int] = (), on_signal: OnSignal | None = None) -> StartSpec:
        return self.command("python3", "-I", "-S", "-c", PROGRAM.read_text(), _script(steps, on_signal), ports=ports)

    def command(self, *entrypoint: str, ports: Sequence[int] = ()) -> StartSpec:
        """Any program of the base image."""
        return replace(self._specs.make(entrypoint, ports, self.folder), image=base_image.NAME)

    def impossible(self) -> StartSpec:
        return self.command("no-such-program")

    def program(self, *steps: Step | ExecStep) -> ExecSpec:
        script = {"steps": [_plain(step) for step in steps], "on_signal": {}}
        return ExecSpec(("python3", "-I", "-S", "-c", PROGRAM.read_text(), json.dumps(script)))

    async def clean_up(self) -> None:
        runtime = self.runtime()
        await runtime.open(Events())
        await runtime.close(OnClose.KILL)


async def reopened(lab: Lab) -> tuple[ContainerRuntime, Events, Found]:
    """A new runtime object for the same place, open."""
    runtime, events = lab.runtime(), Events()
    return runtime, events, await runtime.open(events)
