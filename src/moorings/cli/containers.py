"""``moorings ps``, ``logs``, ``stop`` and ``destroy``: the containers of a running platform."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from moorings.cli.reaching import AS_JSON, asks_platform

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient

NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")


class Moment(click.ParamType[float]):
    """A time, or how long ago it was."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The time in Unix seconds. Fails as a usage error."""
        from moorings.config.durations import seconds

        if isinstance(value, float):
            return value
        try:
            return time.time() - seconds(value)
        except ValueError:
            pass
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            self.fail(f"{value!r} is no time; write 5m for five minutes ago, or 2026-01-31T12:00:00Z.", param, ctx)


@click.command(short_help="List the containers of a running platform.")
@click.option("--all", "-a", "is_all", is_flag=True, help="Those that sleep as well.")
@AS_JSON
@asks_platform
def ps(client: AdminClient, *, is_all: bool, as_json: bool) -> None:
    """List the containers that run: their state, how long they have run, and what they use.

    CPU is the time used since the start, of all processes. REQUESTS are in flight, CONNECTIONS are WebSockets that are
    being forwarded. The other commands take what NAME shows, or a name without its class where that is enough.

    \b
    Example, in the worker's folder while it runs:
      moorings ps
      moorings logs -f alice
      moorings exec -it alice -- sh
    """
    from moorings.cli.tables import table

    listed = list(client.stream("/containers/list", {"all": is_all}))
    if as_json:
        click.echo(json.dumps(listed))
        return
    if not listed:
        hint = "there are none yet" if is_all else "none runs; moorings ps --all lists those that sleep"
        click.echo(f"{hint} (the first request to a name makes and starts its container)")
        return
    head = ("NAME", "STATE", "RUNTIME", "AGE", "CPU", "MEMORY", "REQUESTS", "CONNECTIONS")
    now = time.time()
    table(head, [_row(each, now) for each in sorted(listed, key=_order)])


def _order(each: dict[str, Any]) -> tuple[Any, ...]:
    return each["started_at"] is None, each["class_name"], each["name"] or "", each["object_id"]


def _row(each: dict[str, Any], now: float) -> tuple[str, ...]:
    from moorings.cli.tables import duration, size

    state = each["state"]
    if state == "stopped_with_code":
        state = f"exited ({each['exit_code']})"
    started, cpu, memory = each["started_at"], each["cpu_seconds"], each["memory_bytes"]
    runs = each["runtime"] is not None
    return (
        f"{each['class_name']}/{each['name'] if each['name'] is not None else each['object_id']}",
        state,
        each["runtime"] or "",
        "" if started is None else duration(now - started),
        "" if cpu is None else f"{cpu:.1f}s",
        "" if memory is None else size(memory),
        str(each["requests"]) if runs else "",
        str(each["connections"]) if runs else "",
    )


@click.command(short_help="Show what a container prints.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what it prints, until it ends.")
@click.option("--tail", "-n", type=click.IntRange(0), help="The last lines, at most that many.  [default: all]")
@click.option("--since", type=Moment(), help="From then on: 5m for five minutes ago, or 2026-01-31T12:00:00Z.")
@click.option("--timestamps", "-t", is_flag=True, help="Show when each line was printed.")
@AS_JSON
@click.argument("name")
@asks_platform
def logs(
    client: AdminClient,
    name: str,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
    timestamps: bool,
    as_json: bool,
) -> None:
    """Show what the container NAME has printed since its last start, also after its end.

    What it printed on its standard error goes to standard error. With --json, each line is a JSON object.

    \b
    Examples:
      moorings logs -f alice
      moorings logs --since 5m --tail 100 Sandbox/alice
    """
    params = {"container": name, "follow": follow, "tail": tail, "since": since}
    try:
        for line in client.stream("/containers/logs", params):
            if as_json:
                click.echo(json.dumps(line))
            else:
                at = f"{_timestamp(line['at'])} " if timestamps else ""
                click.echo(f"{at}{line['line']}", err=line["stream"] == "stderr")
    except KeyboardInterrupt:
        sys.exit(130)


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")


@click.command(short_help="Stop containers gracefully.")
@click.option("--signal", "-s", default="SIGTERM", show_default=True, help="The signal that asks them to end.")
@click.option("--no-wait", is_flag=True, help="Return when the signal is sent, not when they have ended.")
@AS_JSON
@NAMES
@asks_platform
def stop(client: AdminClient, names: Sequence[str], *, signal: str, no_wait: bool, as_json: bool) -> None:
    """Stop the containers NAME... gracefully, as sleep does, and wait until they have ended.

    on_stop runs first, then the signal is sent; SIGKILL follows stop_grace after it. The next request to a name starts
    its container anew.

    \b
    Examples:
      moorings stop alice
      moorings stop alice Sandbox/bob --signal SIGINT --no-wait
    """
    number: str | int = int(signal) if signal.isdecimal() and len(signal) < 10 else signal
    asked = [client.call("/containers/stop", {"container": name, "signal": number, "wait": False}) for name in names]
    if not no_wait:
        for each in asked:
            if each["was_running"]:
                each |= client.call("/containers/stop", {"container": each["container"]}) | {"was_running": True}
    _tell(asked, as_json=as_json)


@click.command(short_help="Kill containers.")
@AS_JSON
@NAMES
@asks_platform
def destroy(client: AdminClient, names: Sequence[str], *, as_json: bool) -> None:
    """Kill the containers NAME... at once (SIGKILL), without on_stop; their storage stays.

    The next request to a name starts its container anew.

    \b
    Example:
      moorings destroy alice
    """
    _tell([client.call("/containers/destroy", {"container": name}) for name in names], as_json=as_json)


def _tell(ended: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(ended))
        return
    from moorings.cli.tables import plain

    for each in ended:
        name = plain(each["container"])
        if not each["was_running"]:
            click.echo(f"{name} did not run")
        elif each["state"] == "stopped_with_code":
            click.echo(f"{name} stopped with exit code {each['exit_code']}")
        else:
            click.echo(f"{name} {each['state']}")
