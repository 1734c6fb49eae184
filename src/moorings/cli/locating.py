"""Which worker file a command means, which configuration goes with it, and what that says of the command's options.

The command line wins over the configuration. Mistakes in the configuration are not told here: the platform tells them,
together with those that only show beside the worker's classes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moorings.config.addresses import host_and_port
from moorings.config.durations import seconds
from moorings.config.file import ConfigFile, find_config, read_config
from moorings.config.sizes import size
from moorings.errors import ConfigError

DEFAULT_FILE: Final = "worker.py"


@dataclass(frozen=True, slots=True)
class Located:
    """``file`` is the worker's; ``config`` the file or the folder that its configuration is looked for in."""

    file: Path
    config: Path
    found: ConfigFile | None


def locate(given: Path | None, config: Path | None, *, folder: Path, command: str) -> Located:
    """What ``moorings COMMAND [given] [--config config]`` in ``folder`` means.

    The worker is the file given, else ``main`` of the configuration, else ``worker.py``: in the folder given, beside
    the configuration given, or in ``folder``. Raises ConfigError where there is none, or where the configuration can't
    be read.
    """
    if given is not None and not given.is_dir():
        place = given.resolve().parent
    elif given is None and config is not None:
        place = config.resolve().parent
    else:
        place = folder if given is None else given
    found = find_config(place) if config is None else read_config(config)
    where = place if config is None else config
    if given is not None and not given.is_dir():
        return Located(given, where, found)
    if found is not None and found.configuration.main is not None:
        return Located(found.resolve(found.configuration.main), where, found)
    file = place / DEFAULT_FILE
    if file.is_file():
        return Located(file, where, found)
    if found is not None and found.mistakes:
        raise ConfigError("\n".join([f"{found.path}:", *found.mistakes]))
    main = "" if found is None else f", and {found.path.name} has no main"
    raise ConfigError(
        f"there is no {DEFAULT_FILE} in {place.resolve()}{main}; give the worker's file, such as: moorings {command} "
        "path/to/worker.py (moorings init writes one to start with)"
    )


def data_folders(
    given: Path | None, config: Path | None, data_dir: Path | None, *, folder: Path, command: str
) -> list[Path]:
    """The data folders that the platform of a worker may run on, the likeliest first.

    That is ``data_dir`` if it is given; else the one that the configuration names for ``serve``, and ``.moorings``
    beside the worker's file. Raises ConfigError where there is neither a worker nor a data folder.
    """
    if data_dir is not None:
        return [data_dir.resolve()]
    here = folder / ".moorings"
    try:
        located = locate(given, config, folder=folder, command=f"{command} --file")
    except ConfigError:
        if given is not None or config is not None or not here.is_dir():
            raise
        return [here.resolve()]
    served = serve_options(located.found, ()).get("data_dir")
    beside = located.file.resolve().parent / ".moorings"
    return list(dict.fromkeys([*([] if served is None else [Path(served).resolve()]), beside.resolve()]))


def serve_options(found: ConfigFile | None, said: Collection[str]) -> dict[str, Any]:
    """Options of ``moorings serve`` that the configuration has, but for those ``said`` on the command line."""
    table = None if found is None else found.configuration.moorings
    if found is None or table is None or table.serve is None:
        return {}
    serve = table.serve
    options = {
        "host": serve.host,
        "port": serve.port,
        "data_dir": None if serve.data_dir is None else found.resolve(serve.data_dir),
        "runtime": serve.runtime,
        "trusted_proxies": None if serve.trusted_proxies is None else tuple(filter(None, serve.trusted_proxies)),
        "max_body": None if serve.max_body is None else size(serve.max_body),
        "drain_timeout": None if serve.drain_timeout is None else seconds(serve.drain_timeout),
        "stop_containers": serve.stop_containers,
        "admin_listen": None if serve.admin_listen is None else host_and_port(serve.admin_listen),
        "admin_token_file": None if serve.admin_token_file is None else found.resolve(serve.admin_token_file),
        "tls_cert": None if serve.tls_cert is None else found.resolve(serve.tls_cert),
        "tls_key": None if serve.tls_key is None else found.resolve(serve.tls_key),
    }
    return {name: value for name, value in options.items() if value is not None and name not in said}
