"""What all commands that ask a running platform have in common: how they find it, and how they tell its errors."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from moorings.cli.admin_client import AdminClient

Command = TypeVar("Command", bound=Callable[..., Any])

TIMED_OUT = 124
"""The exit code of a command that took longer than it may, as of timeout(1)."""

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def asks_platform(command: Callable[..., None], *, failure: int = 1) -> Callable[..., None]:
    """A command whose first parameter is the AdminClient of the platform that its options mean.

    Ends with the exit code ``failure`` and a sentence with the next step where there is no platform or it refuses; with
    ``--json`` the problem details go to standard output.
    """

    @click.option(
        "--file",
        "worker",
        type=click.Path(path_type=Path),
        help="The worker's file, or its folder.  [default: as for serve, in the current folder]",
    )
    @click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration file.  [default: moorings.toml or wrangler's, beside the worker's file]",
    )
    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="The platform's data folder.  [default: .moorings beside the worker's file]",
    )
    @functools.wraps(command)
    def reaching(*args: Any, worker: Path | None, config: Path | None, data_dir: Path | None, **params: Any) -> None:
        from moorings.cli.admin_client import AdminError, NoPlatform

        try:
            command(_client(worker, config, data_dir), *args, **params)
        except AdminError as error:
            code = TIMED_OUT if error.code == "exec_timeout" else failure
            if params.get("as_json"):
                click.echo(json.dumps(error.problem))
                sys.exit(code)
            _fail(error, code)
        except NoPlatform as error:
            _fail(error, failure)
        except BrokenPipeError:
            raise  # click ends quietly where nobody reads on
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes what is left at its end
            _fail(OSError(f"the output can't be written: {error.strerror or error}"), failure)

    return reaching


def _fail(error: Exception, code: int) -> NoReturn:
    from moorings.cli.tables import plain

    click.ClickException(plain(str(error), kept="\n\t")).show()
    sys.exit(code)


def _client(worker: Path | None, config: Path | None, data_dir: Path | None) -> AdminClient:
    from moorings.cli.admin_client import first_running
    from moorings.cli.locating import data_folders
    from moorings.errors import ConfigError

    command = click.get_current_context().command_path.removeprefix("moorings ")
    try:
        folders = data_folders(worker, config, data_dir, folder=Path.cwd(), command=command)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    return first_running(folders)
