"""``moorings queue``: the queues of a running platform."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from moorings.cli.reaching import AS_JSON, asks_platform
from moorings.cli.tables import duration, table

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient

NAME = click.argument("name")

HELP = """\
Look at the queues of a running platform, send to them, hold them, and try dead letters again.

A queue comes into being when the configuration names it: as a producer's, a consumer's or a dead-letter queue.

\b
Example, in the worker's folder while it runs:
  moorings queue ls
  moorings queue send jobs '{"id": 7}'
  moorings queue peek jobs-dead
  moorings queue retry-dlq jobs-dead
"""


@click.group(help=HELP, short_help="Look at queues, send, pause, purge, retry dead letters.")
def queue() -> None:
    """The group; its help is HELP."""


@queue.command(short_help="List the queues.")
@AS_JSON
@asks_platform
def ls(client: AdminClient, *, as_json: bool) -> None:
    """List the queues: how many messages each has, and who consumes it.

    MESSAGES counts all of them. Of these, DELAYED wait for their time; IN FLIGHT are being delivered, or were pulled.
    """
    listed = client.call("/queues/list")
    if as_json:
        click.echo(json.dumps(listed))
        return
    if not listed:
        click.echo("there are no queues; name one under queues.producers in moorings.toml")
        return
    head = ("QUEUE", "MESSAGES", "DELAYED", "IN FLIGHT", "OLDEST", "CONSUMER", "DEAD LETTERS TO")
    table(head, [_row(each) for each in listed])


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    consumer = each["consumer"] or "none"
    oldest = "" if each["oldest"] is None else _ago(time.time() - each["oldest"])
    paused = " (paused)" if each["paused"] else ""
    counts = (f"{each[key]:,}" for key in ("messages", "delayed", "in_flight"))
    return (each["name"] + paused, *counts, oldest, consumer, each["dead_letter_queue"] or "")


@queue.command(short_help="Send a message.")
@NAME
@click.argument("body")
@click.option(
    "--content-type",
    type=click.Choice(["json", "text", "bytes"]),
    default="json",
    show_default=True,
    help="What BODY is: a JSON value, a text, or bytes as they are on standard input.",
)
@click.option("--delay-seconds", type=click.FloatRange(0, 43_200), help="How long it waits, up to 12 hours.")
@AS_JSON
@asks_platform
def send(
    client: AdminClient, name: str, body: str, *, content_type: str, delay_seconds: float | None, as_json: bool
) -> None:
    """Send BODY to the queue NAME, as a worker would; - reads it from standard input. Returns when it is durable.

    \b
    Examples:
      moorings queue send jobs '{"id": 7}'
      moorings queue send notes 'tea is ready' --content-type text --delay-seconds 180
      moorings queue send images - --content-type bytes < image.png
    """
    data = sys.stdin.buffer.read() if body == "-" else body.encode("utf-8", "surrogateescape")
    answer = client.call("/queues/send", _message(name, data, content_type, delay_seconds))
    click.echo(json.dumps(answer) if as_json else f"sent to {name}")


def _message(name: str, data: bytes, content_type: str, delay_seconds: float | None) -> dict[str, Any]:
    body: Any = base64.b64encode(data).decode()
    if content_type != "bytes":
        try:
            body = data.decode()
        except UnicodeDecodeError:
            raise click.BadParameter("it is no UTF-8; send it with --content-type bytes", param_hint="BODY") from None
    if content_type == "json":
        try:
            body = json.loads(body)
        except ValueError:
            hint = "it is no JSON; put a text into double quotes inside of single ones, or use --content-type text"
            raise click.BadParameter(hint, param_hint="BODY") from None
    return {"queue": name, "body": body, "content_type": content_type, "delay_seconds": delay_seconds}


@queue.command(short_help="Show the first messages, without taking them.")
@NAME
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many, at most.")
@AS_JSON
@asks_platform
def peek(client: AdminClient, name: str, *, limit: int, as_json: bool) -> None:
    """Show the first messages of the queue NAME: none is taken, and no attempt is counted.

    Dead letters say which queue they come from.
    """
    messages = client.call("/queues/peek", {"queue": name, "limit": limit})
    if as_json:
        click.echo(json.dumps(messages))
        return
    if not messages:
        click.echo(f"{name} is empty")
        return
    head = ("ID", "STATE", "SENT", "ATTEMPTS", "FROM", "BODY")
    now = time.time()
    table(head, [_peeked(message, now) for message in messages])


def _peeked(message: dict[str, Any], now: float) -> tuple[str, ...]:
    state = message["state"]
    if state == "delayed":
        state = f"due in {duration(message['due'] - now)}"
    body = message["body"] if message["content_type"] == "text" else json.dumps(message["body"], ensure_ascii=False)
    body = body if message["content_type"] != "bytes" else f"{len(base64.b64decode(message['body'])):,} bytes"
    shown = "".join(c if c.isprintable() else " " for c in body)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return (
        message["id"],
        state,
        _ago(now - message["timestamp"]),
        str(message["attempts"]),
        message["source"] or "",
        shown,
    )


@queue.command(short_help="Stop delivering; messages are still taken.")
@NAME
@AS_JSON
@asks_platform
def pause(client: AdminClient, name: str, *, as_json: bool) -> None:
    """Deliver no more messages of the queue NAME, until moorings queue resume; also after a restart.

    It goes on taking messages. Batches that are under way end.
    """
    answer = client.call("/queues/pause", {"queue": name})
    click.echo(json.dumps(answer) if as_json else f"{name} is paused; moorings queue resume {name} goes on")


@queue.command(short_help="Deliver again.")
@NAME
@AS_JSON
@asks_platform
def resume(client: AdminClient, name: str, *, as_json: bool) -> None:
    """Deliver the messages of the queue NAME again, after moorings queue pause."""
    answer = client.call("/queues/resume", {"queue": name})
    click.echo(json.dumps(answer) if as_json else f"{name} delivers again")


@queue.command(short_help="Delete all messages.")
@NAME
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@AS_JSON
@asks_platform
def purge(client: AdminClient, name: str, *, yes: bool, as_json: bool) -> None:
    """Delete all messages of the queue NAME, for good: those that are delayed as well.

    Batches that are under way end, and their messages are not delivered again.
    """
    if not yes:
        click.confirm(f"Delete all messages of {name} for good?", abort=True, err=True)
    answer = client.call("/queues/purge", {"queue": name})
    click.echo(json.dumps(answer) if as_json else f"deleted {_messages(answer['deleted'])} of {name}")


@queue.command("retry-dlq", short_help="Send dead letters back to where they come from.")
@NAME
@click.option("--to", help="The queue that they go to.  [default: the one that each comes from]")
@click.option("--limit", type=click.IntRange(1), help="How many, at most, the oldest first.  [default: all]")
@AS_JSON
@asks_platform
def retry_dlq(client: AdminClient, name: str, *, to: str | None, limit: int | None, as_json: bool) -> None:
    """Take the messages out of the dead-letter queue NAME and deliver them anew, with all their attempts before them.

    \b
    Example: look at one, repair what was wrong, try it, then try all.
      moorings queue peek jobs-dead
      moorings queue retry-dlq jobs-dead --limit 1
      moorings queue retry-dlq jobs-dead
    """
    answer = client.call("/queues/retry-dlq", {"queue": name, "to": to, "limit": limit})
    if as_json:
        click.echo(json.dumps(answer))
        return
    for where, count in sorted(answer["moved"].items()):
        click.echo(f"{_messages(count)} went to {where}")
    if not answer["moved"]:
        click.echo(f"{name} has no dead letters; messages that were sent to it by themselves need --to QUEUE")


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago"
