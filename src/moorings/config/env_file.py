"""``.dev.vars`` and ``--env-file``: lines of ``NAME=value``, as Cloudflare's tools and Docker read them.

Empty lines and lines that start with ``#`` are skipped, an ``export`` in front is dropped, and a value may stand in
single or double quotes; in double quotes ``\\n``, ``\\"`` and ``\\\\`` are understood.
"""

from __future__ import annotations

import re
from pathlib import Path

from moorings.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in a file. Raises ConfigError naming the file, and the line that can't be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    variables: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(f"{path}, line {number}: expected NAME=value, not {text!r:.60}")
        variables[match.group(1)] = _unquoted(match.group(2))
    return variables


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r'\\([n"\\])', lambda match: _ESCAPES[match.group(1)], value[1:-1])
    return value.split(" #", 1)[0].rstrip()
