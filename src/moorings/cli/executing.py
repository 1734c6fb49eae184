"""``moorings exec``: a program inside a container, with this terminal's input, output, size and exit code."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from moorings.cli.reaching import AS_JSON, asks_platform

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient, Exchange

REFUSED = 125
"""The exit code where it is not the command that failed, as of docker exec."""


@click.command(
    "exec",
    short_help="Run a command inside a container.",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)
@click.option("--interactive", "-i", is_flag=True, help="Send standard input to the command.")
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal, of the size of this one.")
@click.option("--env", "-e", multiple=True, metavar="NAME=VALUE", help="A variable of its environment; several times.")
@click.option("--cwd", "-w", help="Where it runs.  [default: the container's folder]")
@click.option("--user", "-u", help="As whom it runs: a name or a number, and :GROUP where wanted.")
@click.option("--timeout", metavar="DURATION", help="Kill it after that time, such as 30s.")
@AS_JSON
@click.argument("name")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@functools.partial(asks_platform, failure=REFUSED)
def execute(
    client: AdminClient,
    name: str,
    command: Sequence[str],
    *,
    interactive: bool,
    tty: bool,
    env: Sequence[str],
    cwd: str | None,
    user: str | None,
    timeout: str | None,
    as_json: bool,
) -> None:
    """Run COMMAND inside the container NAME, which has to be running, and end with its exit code.

    It has the container's folder and environment, and is killed with Ctrl-C, with its container, and when this command
    goes away. Exit codes of its own: 124 after --timeout, 125 where the platform refuses, 127 where there is no such
    program. With --json, all that it prints is shown at its end as
    one JSON object with exit_code, stdout and stderr.

    \b
    Examples:
      moorings exec alice -- ls -l
      moorings exec -it alice -- sh
      pg_dump shop | moorings exec -i db -- psql
    """
    from moorings.cli import interactive as terminal

    command = command[1:] if command[0] == "--" else command
    if not command:
        raise click.UsageError("Say what to run: moorings exec NAME -- COMMAND")
    variables = _variables(env)
    if tty and "TERM" in os.environ:
        variables = {"TERM": os.environ["TERM"], **variables}
    params = {
        "container": name,
        "command": [_text(argument) for argument in command],
        "env": variables,
        "cwd": cwd,
        "user": user,
        "terminal": terminal.size() if tty else None,
        "timeout": _seconds(timeout),
        "input": interactive or tty,
    }
    printed: dict[str, bytearray] | None = {"stdout": bytearray(), "stderr": bytearray()} if as_json else None
    try:
        with contextlib.ExitStack() as stack:
            exchange = stack.enter_context(client.exchange("/containers/exec", params))
            if tty:
                stack.enter_context(terminal.resizing(exchange))
            if tty and interactive:
                stack.enter_context(terminal.raw())
            if interactive:
                terminal.feed(exchange)
            elif not tty:
                exchange.send_end()
            code = _show(exchange, printed)
    except KeyboardInterrupt:
        code = 130
    if printed is not None:
        texts = {stream: data.decode("utf-8", "replace") for stream, data in printed.items()}
        click.echo(json.dumps({"exit_code": code, **texts}))
    sys.exit(code)


def _show(exchange: Exchange, printed: dict[str, bytearray] | None) -> int:
    """Print what the program prints, or keep it; returns its exit code."""
    streams: dict[str, Any] = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    for event in exchange.values():
        if "exit_code" in event:
            return int(event["exit_code"])
        data = base64.b64decode(event["data"])
        if printed is not None:
            printed[event["stream"]] += data
        else:
            streams[event["stream"]].write(data)
            streams[event["stream"]].flush()
    raise AssertionError("unreachable: the last event has the exit code")


def _variables(env: Sequence[str]) -> dict[str, str]:
    variables = {}
    for entry in env:
        variable, equals, value = entry.partition("=")
        if not variable:
            raise click.BadParameter(f"{entry!r} has no name; write NAME=VALUE", param_hint="--env")
        variables[variable] = value if equals else os.environ.get(variable, "")
    return variables


def _seconds(timeout: str | None) -> float | None:
    from moorings.config.durations import seconds

    if timeout is None:
        return None
    try:
        number: str | float = float(timeout)
    except ValueError:
        number = timeout
    try:
        return seconds(number)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None


def _text(argument: str) -> str:
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{argument!r} is no UTF-8", param_hint="COMMAND") from None
    return argument
