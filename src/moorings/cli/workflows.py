"""``moorings workflow``: the workflows of a running platform."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from moorings.cli.reaching import AS_JSON, asks_platform

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient

WORKFLOW = click.argument("workflow")
INSTANCE = click.argument("instance")
_WIDTH = 40

HELP = """\
Look at the workflows of a running platform: create instances, hold them, send them events.

A workflow is named by its class, unless the configuration gives it another name.

\b
Example, in the worker's folder while it runs:
  moorings workflow create ProcessingWorkflow '{"job_id": "a"}' --id a
  moorings workflow ls
  moorings workflow describe ProcessingWorkflow a
  moorings workflow send-event ProcessingWorkflow a approved true
"""


@click.group(help=HELP, short_help="Look at workflows, create, pause, resume, send events.")
def workflow() -> None:
    """The group; its help is HELP."""


@workflow.command(short_help="List instances, the latest first.")
@click.argument("workflow", required=False, default="")
@click.option("--status", default="", help="Only those of this status, such as errored.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, at most.")
@AS_JSON
@asks_platform
def ls(client: AdminClient, *, workflow: str, status: str, limit: int, as_json: bool) -> None:
    """List instances, of WORKFLOW or of all, the latest first."""
    listed = client.call("/workflows/list", {"workflow": workflow, "status": status, "limit": limit})
    if as_json:
        click.echo(json.dumps(listed))
        return
    if not listed:
        click.echo("there are no such instances; create one with moorings workflow create WORKFLOW PARAMS")
        return
    from moorings.cli.tables import table

    table(("WORKFLOW", "INSTANCE", "STATUS", "CREATED"), [_row(each) for each in listed])


def _row(each: dict[str, Any]) -> tuple[str, str, str, str]:
    created = datetime.fromisoformat(each["created"]).astimezone()
    return each["workflow"], each["id"], each["status"], f"{created:%Y-%m-%d %H:%M:%S}"


@workflow.command(short_help="Show an instance and its steps as a timeline.")
@WORKFLOW
@INSTANCE
@AS_JSON
@asks_platform
def describe(client: AdminClient, *, workflow: str, instance: str, as_json: bool) -> None:
    """Show the INSTANCE of WORKFLOW: its status, its output or error, and its steps as a timeline."""
    status = client.call("/workflows/describe", {"workflow": workflow, "id": instance})
    if as_json:
        click.echo(json.dumps(status))
        return
    from moorings.cli.tables import plain

    click.echo(f"{workflow}/{instance} is {status['status']}")
    if status["output"] is not None:
        click.echo(plain(f"output: {json.dumps(status['output'], ensure_ascii=False)}"))
    if status["error"] is not None:
        click.echo(plain(f"error: {status['error']['name']}: {status['error']['message']}", kept="\n\t"))
    for line in timeline(status["steps"]):
        click.echo(plain(line))


def timeline(steps: list[dict[str, Any]]) -> list[str]:
    """Steps as lines, each with a bar where it lay in the time from the first one's start to the last one's end."""
    if not steps:
        return ["no step has begun"]
    spans = [(_seconds(step["started"]), _seconds(step["ended"] or step["started"])) for step in steps]
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
    scale = _WIDTH / max(end - begin, 1e-9)
    width = max(len(step["name"]) for step in steps)
    lines = []
    for step, (first, last) in zip(steps, spans, strict=True):
        left = min(_WIDTH - 1, int((first - begin) * scale))
        length = max(1, min(_WIDTH - left, round((last - first) * scale)))
        mark = "━" if step["ended"] else "╍"
        bar = f"{' ' * left}{mark * length}".ljust(_WIDTH)
        took = f"{last - first:.3f} s" if step["ended"] else ""
        lines.append(f"  {step['name'].ljust(width)} │{bar}│ {step['state']} {_detail(step, took)}".rstrip())
    return lines


def _detail(step: dict[str, Any], took: str) -> str:
    parts = [took] if took else []
    if step["kind"] != "do":
        parts.insert(0, step["kind"])
    if step["attempts"] > 1:
        parts.append(f"{step['attempts']} attempts")
    if step["cut_off"]:
        parts.append(f"{step['cut_off']} cut off")
    if step["due"] and not step["ended"]:
        parts.append(f"until {datetime.fromisoformat(step['due']).astimezone():%Y-%m-%d %H:%M:%S}")
    if step["error"]:
        parts.append(f"{step['error']['name']}: {step['error']['message'][:60]}")
    return ", ".join(parts)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@workflow.command(short_help="Create an instance.")
@WORKFLOW
@click.argument("params", default="null")
@click.option("--id", "instance", help="Its id.  [default: a random one]")
@AS_JSON
@asks_platform
def create(client: AdminClient, *, workflow: str, params: str, instance: str | None, as_json: bool) -> None:
    """Create an instance of WORKFLOW with PARAMS, a JSON value. Prints its id."""
    answer = client.call("/workflows/create", {"workflow": workflow, "params": _json(params, "PARAMS"), "id": instance})
    click.echo(json.dumps(answer) if as_json else answer["id"])


@workflow.command("send-event", short_help="Send an event to an instance.")
@WORKFLOW
@INSTANCE
@click.argument("type")
@click.argument("payload", default="null")
@AS_JSON
@asks_platform
def send_event(client: AdminClient, *, workflow: str, instance: str, type: str, payload: str, as_json: bool) -> None:
    """Send an event of TYPE to INSTANCE, with PAYLOAD, a JSON value. It is kept until a step waits for it."""
    params = {"workflow": workflow, "id": instance, "type": type, "payload": _json(payload, "PAYLOAD")}
    answer = client.call("/workflows/send-event", params)
    click.echo(json.dumps(answer) if as_json else f"sent to {workflow}/{instance}")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        hint = "it is no JSON; put a text into double quotes inside of single ones"
        raise click.BadParameter(hint, param_hint=what) from None


def _moving(name: str, summary: str, text: str) -> Callable[..., Any]:
    @workflow.command(name, short_help=summary, help=text)
    @WORKFLOW
    @INSTANCE
    @AS_JSON
    @asks_platform
    def move(client: AdminClient, *, workflow: str, instance: str, as_json: bool) -> None:
        status = client.call(f"/workflows/{name}", {"workflow": workflow, "id": instance})
        click.echo(json.dumps(status) if as_json else f"{workflow}/{instance} is {status['status']}")

    return move


_moving("pause", "Hold an instance.", "Hold INSTANCE: steps that run end and are recorded, no others begin.")
_moving("resume", "Go on with an instance.", "Go on with INSTANCE after a pause, or after changed code was put back.")
_moving("terminate", "End an instance for good.", "End INSTANCE for good; code that runs is cancelled.")
_moving("restart", "Begin an instance anew.", "Begin INSTANCE anew with the same params; what it recorded is deleted.")
