"""``.dockerignore``: which files of a folder are not part of an image's build context.

Patterns are Go's ``filepath.Match`` with ``**`` for any number of folders; a pattern that matches a folder matches all
in it; ``!`` takes back, and the last line that matches wins.
Source: docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DOCKERFILE: Final = "Dockerfile"
DOCKERIGNORE: Final = ".dockerignore"
DOCKERIGNORES: Final = (f"{DOCKERFILE}{DOCKERIGNORE}", DOCKERIGNORE)
"""Files of a folder that say what is left out; the first that exists counts alone, as for docker build."""


class Ignore:
    """The lines of a ``.dockerignore``. Raises ValueError for a pattern that isn't one."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for raw in lines:
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            keeps = line.startswith("!")
            pattern = posixpath.normpath(line[1:].strip() if keeps else line).lstrip("/")
            if pattern not in ("", "."):
                self._rules.append((keeps, re.compile(_regex(pattern) + r"(?:/.*)?", re.DOTALL)))

    @classmethod
    def read(cls, folder: Path) -> Ignore:
        """That of a folder, which may have none. Raises OSError, ValueError."""
        told = next((file for name in DOCKERIGNORES if (file := folder / name).is_file()), None)
        return cls(() if told is None else told.read_text().splitlines())

    @property
    def has_exceptions(self) -> bool:
        """Whether a file in an ignored folder may be kept."""
        return any(keeps for keeps, _ in self._rules)

    def ignores(self, path: str) -> bool:
        """Whether a file or folder, by its path relative to the context, is left out."""
        ignored = False
        for keeps, pattern in self._rules:
            if ignored == keeps and pattern.fullmatch(path):
                ignored = not keeps
        return ignored


def _regex(pattern: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise ValueError(f"the pattern {pattern!r} has a [ without a ]")
            content = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{content}]")
            at = end + 1
        elif pattern[at] == "\\" and at + 1 < len(pattern):
            out.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return "".join(out)
