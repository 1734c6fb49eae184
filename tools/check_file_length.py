"""Refuses source files above 500 lines: a file has one idea, and one that long has two.

Looks at what is in the working tree, with or without git, so that a new file is seen before it is added.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

LIMIT = 500
FOLDERS = ("src", "tests", "bench", "examples", "tools", ".ci")
SUFFIXES = frozenset({"", ".py", ".c", ".pyx", ".lua", ".sh", ".sql", ".js", ".css", ".html"})


def source_files(root: Path) -> Iterator[Path]:
    """Every source file of the project, in a stable order."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            generated = any(part in {"__pycache__", "out"} for part in path.parts)
            if path.suffix in SUFFIXES and path.is_file() and not generated:
                yield path


def too_long(root: Path, limit: int = LIMIT) -> list[tuple[Path, int]]:
    """The files under `root` above `limit` lines, with their length."""
    lengths = ((path, path.read_bytes().count(b"\n")) for path in source_files(root))
    return [(path.relative_to(root), lines) for path, lines in lengths if lines > limit]


def main() -> int:
    """0 where every file is short enough, else 1 after a line for each that isn't."""
    found = too_long(Path(__file__).resolve().parent.parent)
    for path, lines in found:
        print(f"{path}: {lines} lines, at most {LIMIT}: two ideas, two files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
