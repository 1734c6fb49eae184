"""How a platform is run: what the command line says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Mode(Enum):
    """What the platform is run for.

    Development shows everything and stops everything at its end; production tells clients nothing and leaves
    containers.
    """

    DEV = "dev"
    SERVE = "serve"


@dataclass(frozen=True, slots=True)
class PlatformOptions:
    """Options of ``moorings dev`` and ``moorings serve``. Times are in seconds, sizes in bytes.

    ``config`` is the configuration file, or the folder to look for one in; the worker file's unless given.
    ``max_body`` bounds the body of a request (over it: 413); 0 and None set no bound. ``admin_listen`` needs
    ``admin_token``, ``tls_cert`` (PEM, with its chain) ``tls_key``.
    """

    file: Path
    mode: Mode
    config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8787
    data_dir: Path | None = None
    runtime: str = "auto"
    env_file: Path | None = None
    max_body: int | None = None
    trusted_proxies: tuple[str, ...] = ()
    stop_containers: bool = False
    drain_timeout: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    admin_listen: tuple[str, int] | None = None
    admin_token: str | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """The data folder: ``.moorings`` beside the worker file unless given."""
        return (self.data_dir or self.file.resolve().parent / ".moorings").resolve()

    @property
    def debug(self) -> bool:
        """Whether clients are shown tracebacks and the container's output."""
        return self.mode is Mode.DEV
