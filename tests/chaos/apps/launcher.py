"""The command line with a part of the platform broken on purpose: ``launcher.py PATCH... -- serve FILE ...``.

Patches: ``synchronous-off`` commits without waiting for the disk; ``gate-open`` lets everything leave an object at
once; ``die-NAME`` kills the platform with -9 at a point of a container's start or stop (see the lists).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from moorings.cli import main
from moorings.containers.controller import Controller
from moorings.containers.lifecycle import Move
from moorings.objects.activation import Activation
from moorings.objects.sql_files import SqlFiles
from moorings.runtimes.base import Running, StartSpec
from moorings.runtimes.process import ProcessRuntime, wire
from moorings.runtimes.process.client import Client
from moorings.server.runtimes import Runtimes
from moorings.store import Commit, SqliteStore, Synchronous

START_POINTS = (
    "before-intent",
    "intent-queued",
    "intent-durable",
    "before-send",
    "unsent",
    "send-called",
    "sent",
    "answered",
    "before-spawned",
    "spawned-queued",
    "spawned-durable",
    "before-on-start",
    "in-on-start",
    "after-on-start",
    "before-ready",
    "ready-queued",
    "ready-durable",
)
"""In the order of a start; the intent's commit and the runtime's part go on side by side."""

PROCESS_POINTS = ("before-send", "unsent", "send-called", "sent", "answered")
"""Those that only the process runtime has; ``docker_points`` has Docker's."""

CLAIM_POINTS = ("intent-queued", "intent-durable", "before-assign", "assigned", "in-on-start")
"""In the order in which a first request takes a warm spare."""

STOP_POINTS = (
    "before-stop",
    "stop-queued",
    "stop-durable",
    "in-on-stop",
    "signalled",
    "before-exit",
    "exit-queued",
    "exit-durable",
    "in-on-exit",
    "after-on-exit",
)
"""In the order of a stop of a program that ends with a code of its own."""


def die(*_: object) -> None:
    """As ``kill -9`` from outside."""
    os.kill(os.getpid(), signal.SIGKILL)


def synchronous_off() -> None:
    """Commit without waiting for the disk."""
    functions: list[Any] = [vars(SqliteStore)["open"].__func__, SqlFiles.__init__]
    for function in functions:
        assert function.__kwdefaults__["synchronous"] is Synchronous.FULL
        function.__kwdefaults__["synchronous"] = Synchronous.OFF


def gate_open() -> None:
    """Hold nothing back."""

    async def written(self: Activation) -> None:
        return None

    Activation.written = written  # type: ignore[method-assign]


def die_at_move(fatal: Move, moment: str) -> None:
    """At a move of the container: ``before`` it, when its record is ``queued``, or when that is ``durable``."""
    original = Controller.move

    def patched(self: Controller, move: Move, **how: Any) -> Awaitable[None] | None:
        if move is not fatal:
            return original(self, move, **how)
        if moment == "before":
            die()
        recorded = original(self, move, **how)
        assert isinstance(recorded, Commit)
        if moment == "queued":
            die()
        recorded.add_done_callback(die)
        return recorded

    Controller.move = patched  # type: ignore[method-assign]


def die_at_send(moment: str) -> None:
    """``before`` the request to start a program is written to the supervisor, when it is ``called``, or when it is
    ``sent``.
    """
    original = Client.send

    def patched(self: Client, request: wire.Request) -> asyncio.Future[wire.Answer]:
        if not isinstance(request, wire.Start):
            return original(self, request)
        if moment == "before":
            die()
        answered = original(self, request)
        if moment == "called":
            die()
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, die)  # the transport writes at the end of the turn
        return answered

    Client.send = patched  # type: ignore[method-assign]


def hold_starts() -> None:
    """Let no start reach the supervisor: an intent is all there will be."""

    async def start(self: ProcessRuntime, spec: StartSpec) -> Running:
        await asyncio.Event().wait()
        raise AssertionError

    ProcessRuntime.start = start  # type: ignore[method-assign]


def die_when_signalled() -> None:
    """When the runtime has delivered the signal of a stop."""
    original = Runtimes.signal

    async def patched(self: Runtimes, token: str, signum: int) -> None:
        await original(self, token, signum)
        die()

    Runtimes.signal = patched  # type: ignore[method-assign]


def die_when_answered() -> None:
    """When the supervisor says that the program runs."""
    original = Client._received

    def patched(self: Client, message: wire.ToPlatform) -> None:
        if isinstance(message.body, wire.Started):
            die()
        original(self, message)

    Client._received = patched  # type: ignore[method-assign]


def die_around_assign(moment: str) -> None:
    """Before the runtime is told whose a spare is now, or ``after``."""
    original = Runtimes.assign

    async def patched(self: Runtimes, token: str, object_id: str, name: str | None) -> None:
        if moment == "after":
            await original(self, token, object_id, name)
        die()

    Runtimes.assign = patched  # type: ignore[method-assign]


def die_around_hook(fatal: str, moment: str) -> None:
    """``before``, ``in`` or ``after`` a hook."""
    original = Activation.run_hook

    def patched(self: Activation, label: str, invoke: Callable[[Any], Any]) -> asyncio.Task[Any]:
        if label != fatal:
            return original(self, label, invoke)
        if moment == "before":
            die()
        hook = original(self, label, die if moment == "in" else invoke)
        hook.add_done_callback(die)
        return hook

    Activation.run_hook = patched  # type: ignore[method-assign]


def apply(patch: str) -> None:
    """Apply a patch by its name. Raises ValueError."""
    match patch.split("-"):
        case ["synchronous", "off"]:
            synchronous_off()
        case ["gate", "open"]:
            gate_open()
        case ["die", "before", "intent"]:
            die_at_move(Move.START, "before")
        case ["die", "intent", moment]:
            die_at_move(Move.START, moment)
        case ["die", "unsent"]:
            hold_starts()
            die_at_move(Move.START, "durable")
        case ["die", "before", "send"]:
            die_at_send("before")
        case ["die", "send", "called"]:
            die_at_send("called")
        case ["die", "sent"]:
            die_at_send("sent")
        case ["die", "answered"]:
            die_when_answered()
        case ["die", "before", "assign"]:
            die_around_assign("before")
        case ["die", "assigned"]:
            die_around_assign("after")
        case ["die", "before", "spawned"]:
            die_at_move(Move.SPAWNED, "before")
        case ["die", "spawned", moment]:
            die_at_move(Move.SPAWNED, moment)
        case ["die", moment, "on", hook]:
            die_around_hook(f"on_{hook}", moment)
        case ["die", "before", "stop"]:
            die_at_move(Move.STOP, "before")
        case ["die", "stop", moment]:
            die_at_move(Move.STOP, moment)
        case ["die", "signalled"]:
            die_when_signalled()
        case ["die", "before", "exit"]:
            die_at_move(Move.EXIT_WITH_CODE, "before")
        case ["die", "exit", moment]:
            die_at_move(Move.EXIT_WITH_CODE, moment)
        case ["die", "before", "ready"]:
            die_at_move(Move.READY, "before")
        case ["die", "ready", moment]:
            die_at_move(Move.READY, moment)
        case ["die", "docker", *_]:
            import_module("docker_points").die_at(patch.removeprefix("die-"), die)
        case _:
            raise ValueError(f"no such patch: {patch}")


if __name__ == "__main__":
    patches, rest = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    for name in patches:
        apply(name)
    sys.argv = ["moorings", *rest]
    main()
