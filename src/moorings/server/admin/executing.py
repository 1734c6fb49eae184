"""``moorings exec``: a program in a container whose input and output go over the admin socket.

Bytes are base64 in the lines: ``{"data": ...}`` is input, ``{"terminal": {"rows": ..., "columns": ...}}`` a new size
of the terminal, and the end of the request's body the end of the input. The answer has ``{"stream": ..., "data": ...}``
and at last ``{"exit_code": ...}``.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from moorings.containers.controller import Controller
from moorings.containers.executing import exec_events, exec_spec
from moorings.containers.lifecycle import DOWN, Status
from moorings.errors import BadRequest, ContainerNotRunning
from moorings.runtimes.base import Terminal


class Executing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``/containers/exec``. ``timeout`` is in seconds; without ``input`` the program reads nothing."""

    container: str
    command: list[str]
    env: dict[str, str] = {}
    cwd: str | None = None
    user: str | None = None
    terminal: Terminal | None = None
    timeout: float | None = None
    input: bool = False


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of input."""

    data: str = ""
    terminal: Terminal | None = None


async def execute(
    controller: Controller, params: Executing, lines: AsyncIterator[Any]
) -> AsyncGenerator[dict[str, object], None]:
    """Run it. Raises BadRequest, ContainerNotRunning, and what ``exec_events`` does."""
    if controller.status in DOWN or controller.status is Status.STOPPING:
        raise ContainerNotRunning(
            f"{controller.subject.label} isn't running; the next request to it starts it (moorings ps lists what runs)"
        )
    try:
        spec = exec_spec(params.command, env=params.env, cwd=params.cwd, user=params.user, tty=params.terminal or False)
    except (TypeError, ValueError) as error:
        raise BadRequest(str(error)) from None
    events = exec_events(controller, spec, _input(lines) if params.input else None, params.timeout)
    async with aclosing(events):
        async for event in events:
            if event.exit_code is not None:
                yield {"exit_code": event.exit_code}
            else:
                yield {"stream": event.type, "data": base64.b64encode(event.data).decode()}


async def _input(lines: AsyncIterator[Any]) -> AsyncGenerator[bytes | Terminal, None]:
    async for line in lines:
        try:
            parsed = msgspec.convert(line, _Line)
            data = base64.b64decode(parsed.data, validate=True)
        except ValueError as error:
            raise BadRequest(f"a line of input doesn't fit: {error}") from None
        if parsed.terminal is not None:
            yield parsed.terminal
        if data:
            yield data
