"""The Engine's event stream, and what to do when it breaks: one task follows it for as long as the runtime is open.

Invariant: while a stream is followed, every end of a container of the installation is told. Whoever connects first
lists the containers after it has the stream, so nothing falls between the two. The stream begins with what happened
after the connection was made, by the Engine's own clock: an Engine answers before it listens, and what was done on an
earlier connection (a signal) must not be taken for somebody else's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from moorings.clock import Clock
from moorings.runtimes.docker.ends import unix_time
from moorings.runtimes.docker.engine import Engine, Refused, Unreachable
from moorings.runtimes.docker.identity import TOKEN

_LONGEST = 0.5  # seconds between two attempts to reach an Engine that is gone
_FIRST = 0.05
_ACTIONS = ("create", "start", "die", "oom", "kill")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a container: ``action`` is the Engine's word, one of ``_ACTIONS``."""

    action: str
    token: str
    container: str
    exit_code: int
    signum: int


@asynccontextmanager
async def events(engine: Engine, label: str, clock: Clock) -> AsyncIterator[AsyncIterator[list[Event]]]:
    """The stream of events of containers with a label. Raises Refused, Unreachable."""
    filters = json.dumps({"type": ["container"], "label": [label], "event": _ACTIONS})
    try:
        since = unix_time(str(engine.info.get("SystemTime")))
    except ValueError:
        since = clock.time() - 1
    async with engine.stream("events", filters=filters, since=f"{since:.6f}") as stream:
        yield _parsed(stream)


async def _parsed(stream: Any) -> AsyncIterator[list[Event]]:
    buffer = b""
    while chunk := await stream.readany():
        *lines, buffer = (buffer + chunk).split(b"\n")
        parsed = [_event(json.loads(line)) for line in lines if line.strip()]
        yield [each for each in parsed if each is not None]


def _event(event: dict[str, Any]) -> Event | None:
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    token = attributes.get(TOKEN)
    action = str(event.get("Action") or event.get("status") or "")
    if token is None:
        return None
    action = {"died": "die"}.get(action, action)  # Podman's word
    code = str(attributes.get("exitCode") or attributes.get("containerExitCode") or "0")
    signum = str(attributes.get("signal") or "0")
    return Event(action, token, str(actor.get("ID") or ""), _number(code), _number(signum))


def _number(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0


async def reconnect(attempt: Callable[[], Any], between: Callable[[], None], clock: Clock) -> None:
    """Call ``attempt`` until it raises no Unreachable, and ``between`` after each time that it has."""
    pause = _FIRST
    while True:
        try:
            await attempt()
        except (Unreachable, Refused):
            between()
            await clock.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)
        else:
            return


async def cancelled(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks, and wait until they have ended."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
