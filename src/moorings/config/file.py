"""The configuration file beside a worker: which one it is, and what it says.

``moorings.toml`` is Moorings' own, so a key it doesn't know is a mistake. The files of wrangler are read as they are:
there, keys that mean nothing here are named once, and values of keys that do mean something are checked all the same.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moorings.config import jsonc
from moorings.config.parsing import UnknownKeys, parse
from moorings.config.schema import Configuration
from moorings.errors import ConfigError

OWN: Final = "moorings.toml"
NAMES: Final = (OWN, "wrangler.jsonc", "wrangler.json", "wrangler.toml")
"""The files that are looked for; the first that is there is used."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read. ``configuration`` has the parts without a mistake; ``warnings`` are sentences."""

    path: Path
    configuration: Configuration
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def resolve(self, path: str) -> Path:
        """A path that stands in the file, which is relative to the file's folder."""
        return self.path.parent / path


def config_files(place: Path) -> list[Path]:
    """The files that may be the configuration: ``place`` itself, or those that are looked for where it is a folder."""
    place = place.absolute()
    return [place / name for name in NAMES] if place.is_dir() else [place]


def find_config(folder: Path) -> ConfigFile | None:
    """The configuration in ``folder``, where there is one. Raises ConfigError as ``read_config`` does."""
    there = [path for path in config_files(folder) if path.is_file()]
    if not there:
        return None
    found = read_config(there[0])
    if len(there) == 1:
        return found
    others = " and ".join(path.name for path in there[1:])
    warning = f"{there[0].name} is used, {others} beside it {'is' if len(there) == 2 else 'are'} not"
    return ConfigFile(found.path, found.configuration, found.mistakes, (warning, *found.warnings))


def read_config(path: Path) -> ConfigFile:
    """Read a file; mistakes are in the result. Raises ConfigError where it can't be read, or is no TOML or JSON."""
    path = path.absolute()
    document = _document(path)
    parsed = parse(document, UnknownKeys.MISTAKE if path.name == OWN else UnknownKeys.IGNORED)
    configuration = parsed.configuration
    warnings = []
    if parsed.ignored:
        warnings.append(f"{path.name}: these keys mean nothing here and are ignored: {', '.join(parsed.ignored)}")
    if configuration.env:
        warnings.append(f"{path.name}: environments (env) mean nothing here; what stands outside of env is used")
    return ConfigFile(path, configuration, parsed.mistakes, tuple(warnings))


def _document(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        return tomllib.loads(text) if kind == "TOML" else jsonc.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is no {kind}: {error}") from None
