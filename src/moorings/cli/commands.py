"""The subcommands and their options: parsed here, and handed on as ``PlatformOptions``."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moorings.cli import containers, doctor, executing, init, queues, workflows
from moorings.cli.admin_listening import HostPort, admin_options

if TYPE_CHECKING:
    from moorings.cli.locating import Located
    from moorings.server.options import PlatformOptions

Command = TypeVar("Command", bound=Callable[..., Any])

HELP = """\
Named, stateful, scale-to-zero containers, programmed in Python.

You write one class per kind of container and one worker that routes requests to them. A name is all it takes:
its container is started by the first request, kept while it is used, put to sleep when idle, and there is never
a second one.

\b
Three lines to start with:
  moorings init hello
  moorings dev hello
  curl http://127.0.0.1:8787/alice

\b
A worker.py:
  from moorings import Container, WorkerEntrypoint
  \b
  class Backend(Container):
      entrypoint = ["python3", "server.py"]     # listens on the port in $PORT
      default_port = 3000
      sleep_after = "30m"
  \b
  class Default(WorkerEntrypoint):
      async def fetch(self, request):
          name = request.headers.get("X-Session-ID", "anonymous")
          return await self.env.BACKEND.get_by_name(name).fetch(request)

Each command has its own help: moorings dev --help
"""


class Cidr(click.ParamType[str]):
    """An IP address or a network in CIDR notation."""

    name = "cidr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The network as text. Fails as a usage error."""
        try:
            return str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            self.fail(f"{value!r} is no IP address or network; write 10.0.0.7 or 10.0.0.0/8.", param, ctx)


class Duration(click.ParamType[float]):
    """Seconds, or a number with a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The duration in seconds. Fails as a usage error."""
        from moorings.config.durations import seconds

        try:
            number: float | None = float(value)
        except ValueError:
            number = None
        try:
            return seconds(value if number is None else number)
        except ValueError:
            self.fail(f"{value!r} is no duration; write 30, '30s' or '5m'.", param, ctx)


class Host(click.ParamType[str]):
    """An address to listen on. An empty one would mean all of them, which is too much to mean by accident."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address. Fails as a usage error."""
        if not str(value).strip():
            self.fail("it is empty; write an address, such as 127.0.0.1, or 0.0.0.0 for all of them.", param, ctx)
        return str(value)


class Size(click.ParamType[int]):
    """Bytes, or a number with a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes. Fails as a usage error."""
        from moorings.config.sizes import size

        try:
            return size(value)
        except ValueError:
            self.fail(f"{value!r} is no size; write 1048576, '10MiB' or '1GB'.", param, ctx)


def _common(command: Command) -> Command:
    """What ``dev`` and ``serve`` have in common."""
    decorators = [
        click.argument("file", required=False, metavar="[FILE]", type=click.Path(path_type=Path)),
        click.option(
            "-c",
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The configuration file.  [default: moorings.toml or wrangler's, beside FILE]",
        ),
        click.option("--host", default="127.0.0.1", type=Host(), show_default=True, help="The address to listen on."),
        click.option(
            "--port",
            default=8787,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="The port to listen on; 0 takes a free one.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="The data folder.  [default: .moorings beside FILE]",
        ),
        click.option(
            "--runtime",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "docker", "process"]),
            help="Where containers run. auto: Docker for classes with an image where it answers, else local processes.",
        ),
        click.option(
            "--env-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="A file of NAME=value lines that become attributes of env.",
        ),
        click.option(
            "--max-body",
            type=Size(),
            help="The largest request body, such as 10MiB; 0 sets no limit.  [default: no limit]",
        ),
        click.option(
            "--admin-listen",
            type=HostPort(),
            help="Let programs pull messages from queues at this address, with a token.  [default: nobody]",
        ),
        click.option(
            "--admin-token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The file with that token.  [default: the variable MOORINGS_ADMIN_TOKEN]",
        ),
        click.option(
            "--tls-cert",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Serve https with this certificate and its chain (PEM); loaded anew when it changes.",
        ),
        click.option(
            "--tls-key",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The file with the certificate's private key (PEM).",
        ),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(None, "-V", "--version", package_name="moorings", message="moorings %(version)s")
def moorings() -> None:
    """The group; its help is HELP."""


for command in (containers.ps, containers.logs, executing.execute, containers.stop, containers.destroy):
    moorings.add_command(command)
moorings.add_command(init.init)
moorings.add_command(doctor.doctor)
moorings.add_command(doctor.image)
moorings.add_command(queues.queue)
moorings.add_command(workflows.workflow)


@moorings.command(short_help="Run a worker on this machine, and reload it on change.")
@_common
def dev(file: Path | None, config: Path | None, **options: Any) -> None:
    """Run FILE for development. Unless given, it is main of the configuration, else worker.py.

    Shows what is bound in env, each container's state and output, and errors with their traceback. Saving a Python file
    reloads the worker; containers keep running unless what they are started with has changed. Variables are taken from
    .dev.vars beside FILE. Ctrl-C stops everything gracefully, a second one at once.

    \b
    Example:
      moorings dev examples/session_affinity/worker.py --port 9000
    """
    from moorings.server.options import Mode, PlatformOptions

    # A file that is saved twice within a second, with the same size, looks unchanged to Python's bytecode cache.
    sys.dont_write_bytecode = True
    located = _located(file, config, "dev")
    _run(PlatformOptions(file=located.file, config=located.config, mode=Mode.DEV, **admin_options(options)))


@moorings.command(short_help="Run a worker in production.")
@_common
@click.option(
    "--stop-containers",
    is_flag=True,
    help="Stop the containers as well when the platform is stopped; they are left running otherwise.",
)
@click.option(
    "--drain-timeout",
    default="30s",
    show_default=True,
    type=Duration(),
    help="How long requests in flight may take to end after SIGTERM.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    type=Cidr(),
    help="A proxy whose X-Forwarded-* headers are believed; may be given several times.",
)
def serve(file: Path | None, config: Path | None, **options: Any) -> None:
    """Run FILE for production. Unless given, it is main of the configuration, else worker.py.

    The table moorings.serve of the configuration has these options as well; what is given here wins.

    Logs one JSON object a line on standard output; the line with the message "listening" has the URL. Clients are told
    an error's code and nothing else. SIGTERM finishes the requests in flight, then ends with exit code 0; a second one
    cuts them off.

    \b
    Example:
      moorings serve worker.py --host 0.0.0.0 --port 80 --data-dir /var/lib/moorings
    """
    from moorings.cli.locating import serve_options
    from moorings.server.options import Mode, PlatformOptions

    located = _located(file, config, "serve")
    options |= serve_options(located.found, _said())
    _run(PlatformOptions(file=located.file, config=located.config, mode=Mode.SERVE, **admin_options(options)))


def _located(file: Path | None, config: Path | None, command: str) -> Located:
    """The worker's file and its configuration. Fails as a usage error."""
    from moorings.cli.locating import locate
    from moorings.errors import ConfigError

    try:
        return locate(file, config, folder=Path.cwd(), command=command)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def _said() -> set[str]:
    """The options that were given on the command line."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) is not default}


def _run(options: PlatformOptions) -> None:
    from moorings.cli.running import run

    sys.exit(run(options))
