"""``moorings doctor``: where containers would run, and what is in the way; ``moorings image prune``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from moorings.runtimes.docker.images import Pruned
    from moorings.worker.loader import Application

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}

FILE = click.argument("file", required=False, metavar="[FILE]", type=click.Path(path_type=Path))
CONFIG = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file.  [default: moorings.toml or wrangler's, beside FILE]",
)
RUNTIME = click.option(
    "--runtime",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "docker", "process"]),
    help="What dev or serve would be told.",
)


@click.command(short_help="Say where containers would run, and what is in the way.")
@FILE
@CONFIG
@RUNTIME
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(file: Path | None, config: Path | None, *, runtime: str, as_json: bool) -> None:
    """Look at Docker, and say for each class of FILE where its containers would run and why.

    Ends with 1 where a class could not run as things are.

    \b
    Examples:
      moorings doctor
      moorings doctor worker.py --runtime docker
    """
    import asyncio

    from moorings.runtimes.docker.diagnosis import Level, diagnose
    from moorings.server.choosing import Place, choose_all

    findings = asyncio.run(diagnose())
    app = _application(file, config, needed=file is not None or config is not None)
    choices = {} if app is None else choose_all(app.options, runtime)
    broken = any(finding.level is Level.ERROR for finding in findings)
    stuck = [name for name, choice in choices.items() if choice.place is Place.DOCKER and broken]
    if as_json:
        report: dict[str, Any] = {
            "docker": [{"level": str(finding.level), "text": finding.text} for finding in findings],
            "classes": {name: {"runtime": str(choice.place), "why": choice.why} for name, choice in choices.items()},
        }
        click.echo(json.dumps(report))
    else:
        for finding in findings:
            _line(str(finding.level), finding.text)
        for name, choice in choices.items():
            _line("error" if name in stuck else "ok", f"{name} runs on {choice.place}: {choice.why}")
        if app is None:
            click.echo("There is no worker here; moorings doctor FILE says where its classes run.")
    sys.exit(1 if stuck or (broken and runtime == "docker") else 0)


def _line(level: str, text: str) -> None:
    mark, colour = _MARKS[level]
    click.echo(f"{click.style(mark, fg=colour)} {text}")


@click.group(short_help="The images that were built for an app.")
def image() -> None:
    """Images that were built from the folders of an app's classes.

    \b
    Example:
      moorings image prune worker.py
    """


@image.command(short_help="Remove images that the app no longer asks for.")
@FILE
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def prune(file: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Remove the images that were built for FILE's app from folders as they were before.

    The image of what the folders hold now is kept, and so is one that a container uses.
    """
    import asyncio

    from moorings.errors import MooringsError

    app = _application(file, config, needed=True)
    assert app is not None
    try:
        pruned = asyncio.run(_prune(app))
    except MooringsError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({"removed": pruned.removed, "in_use": pruned.in_use, "bytes": pruned.bytes}))
        return
    for name in pruned.removed:
        click.echo(f"removed {name}")
    for name in pruned.in_use:
        click.echo(f"kept {name}: a container uses it")
    click.echo(f"{len(pruned.removed)} images removed, {pruned.bytes / 1e6:.0f} MB with what they shared")


async def _prune(app: Application) -> Pruned:
    """Raises RuntimeUnavailable, ContainerFailedToStart for a folder that can't be read."""
    import os

    from moorings.errors import RuntimeUnavailable
    from moorings.runtimes.docker import images, locating
    from moorings.runtimes.docker.engine import Engine, Unreachable
    from moorings.runtimes.docker.ignoring import DOCKERFILE
    from moorings.server.images import image_of

    specs = [image_of(app.name, options) for options in app.options.values()]
    built = [each for each in specs if each is not None and each.folder is not None]
    keep = [await images.tag_of(each) for each in built if each.folder and (each.folder / DOCKERFILE).is_file()]
    try:
        engine = await Engine.connect(locating.locate(os.environ))
    except Unreachable as error:
        raise RuntimeUnavailable(str(error)) from None
    try:
        return await images.prune(engine, app.name, keep=keep)
    finally:
        await engine.close()


def _application(file: Path | None, config: Path | None, *, needed: bool) -> Application | None:
    """The app of a worker file. Fails as a usage error, unless none was asked for and there is none."""
    from moorings.cli.locating import locate
    from moorings.errors import ConfigError
    from moorings.worker.loader import load_application

    try:
        located = locate(file, config, folder=Path.cwd(), command="doctor")
    except ConfigError as error:
        if needed:
            raise click.ClickException(str(error)) from None
        return None
    try:
        return load_application(located.file, located.config)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
