"""Lines of styled text, on a terminal or in a pipe.

On a terminal rich draws them, and the colours a container prints are kept. Anywhere else they are plain text without
control characters. rich is imported only where there is a terminal.
"""

from __future__ import annotations

import re
import zlib
from typing import IO, Protocol, cast

from moorings.cli.reporting.writer import Writer

Segment = tuple[str, str]
"""Text, and a rich style ("" for none)."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOURS = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")
_LABEL_LENGTH = 48


class Screen(Protocol):
    """Where lines appear."""

    def line(self, *segments: Segment) -> None:
        """A line of styled text; line ends inside it are kept."""

    def output(self, label: str, stream: str, line: str) -> None:
        """A line that the container ``label`` printed."""


class PlainScreen:
    """Plain text."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def line(self, *segments: Segment) -> None:
        """A line without its styles."""
        text = "".join(text for text, _ in segments)
        self._writer.write(_CONTROL.sub("�", _ANSI.sub("", text)) + "\n")

    def output(self, label: str, stream: str, line: str) -> None:
        """A line of a container, after its name."""
        self.line((f"{label} | {line}", ""))


class TerminalScreen:
    """Styled text."""

    def __init__(self, writer: Writer) -> None:
        from rich.console import Console
        from rich.text import Text

        self._console = Console(file=cast(IO[str], writer), force_terminal=True, highlight=False, soft_wrap=True)
        self._text = Text

    def line(self, *segments: Segment) -> None:
        """A line with its styles."""
        parts = [(_CONTROL.sub("�", _ANSI.sub("", text)), style) for text, style in segments]
        self._console.print(self._text.assemble(*parts))

    def output(self, label: str, stream: str, line: str) -> None:
        """A line of a container in the colours it printed, after its name in its own colour."""
        bar = "│ " if stream == "stdout" else "┃ "
        printed = self._text.from_ansi(line)
        self._console.print(self._text.assemble((f"{label} {bar}", colour(label)), printed))


def make_screen(writer: Writer) -> Screen:
    """The screen that suits the writer's stream."""
    return TerminalScreen(writer) if writer.isatty() else PlainScreen(writer)


def colour(label: str) -> str:
    """A container's colour: the same for the same name, always."""
    return _COLOURS[zlib.crc32(label.encode()) % len(_COLOURS)]


def shown(label: str) -> str:
    """A name that takes one line and little of it, whatever a client chose."""
    clean = "".join(char if char.isprintable() else "�" for char in label)
    return clean if len(clean) <= _LABEL_LENGTH else clean[: _LABEL_LENGTH - 1] + "…"
