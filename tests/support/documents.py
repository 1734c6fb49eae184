"""The documentation as tests see it: pages, code blocks, links, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. ``language`` and ``note`` are the two words after the fence."""

    language: str
    note: str
    text: str


def pages() -> list[Path]:
    """Every page that a reader is led to."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "README.md"])


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    found = []
    for info, text in _FENCE.findall(page.read_text()):
        language, _, note = info.partition(" ")
        found.append(Block(language, note.strip(), text))
    return found


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The links of a page to files of the project: the file, and the anchor or ''."""
    for target in _LINK.findall(prose(page)):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in plain}


def rows(page: Path) -> list[list[str]]:
    """The cells of every row of a page's tables, headings and rules left out."""
    found = []
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not set(line) <= set("|-: "):
            found.append(cells)
    return found
