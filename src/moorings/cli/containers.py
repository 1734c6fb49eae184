"""``moorings ps`` and the other commands on the containers of a running platform."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from moorings.cli.reaching import AS_JSON, asks_platform

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient


@click.command(short_help="List the containers of a running platform.")
@AS_JSON
@asks_platform
def ps(client: AdminClient, *, as_json: bool) -> None:
    """List the containers of the platform that runs here."""
    listed = client.call("/containers/list")
    if as_json:
        click.echo(json.dumps(listed))
        return
    for each in listed:
        click.echo(f"{each['class_name']}/{each['name'] or each['object_id']}  {each['state']}")
