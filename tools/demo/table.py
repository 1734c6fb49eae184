"""The demo's table: grows live on a terminal, and is printed once at the end anywhere else, after a line per proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Verdict(Enum):
    """How far a proof is: its mark and style."""

    WAITING = ("·", "dim")
    RUNNING = ("…", "yellow")
    PROVED = ("✓", "green")
    FAILED = ("✗", "bold red")


@dataclass(slots=True)
class Row:
    """A row of the table."""

    pattern: str
    promise: str
    verdict: Verdict = Verdict.WAITING
    figures: str = ""


class Board:
    """Shows rows while they change. A context manager: leaving it prints the final table."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._console = Console(width=None if Console().is_terminal else 150, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self._table)

    def __enter__(self) -> Board:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            print()
        for row in self._rows:
            if row.verdict is Verdict.FAILED and shortened(row.figures) != row.figures:
                self._console.print(f"\n{row.pattern}, {row.promise}:\n{row.figures}", style="red", markup=False)

    def show(self, row: Row, verdict: Verdict, figures: str = "") -> None:
        """A row has changed."""
        row.verdict, row.figures = verdict, figures
        if self._console.is_terminal:
            self._live.refresh()
        elif verdict is not Verdict.RUNNING:
            print(f"{verdict.value[0]} {row.pattern}: {row.promise}", flush=True)

    def _table(self) -> Table:
        table = Table(title="What the demo proves", title_justify="left")
        for heading in ("", "Pattern", "Promise"):
            table.add_column(heading, no_wrap=True)
        table.add_column("Figures")
        for row in self._rows:
            mark, style = row.verdict.value
            figures = Text(shortened(row.figures))
            table.add_row(mark, row.pattern, row.promise, figures, style=style if style != "green" else "")
        return table


def shortened(text: str) -> str:
    """The first and the last line of a text, as far as a row of a table has room."""
    lines = text.splitlines() or [""]
    ends = [lines[0]] if len(lines) == 1 else [lines[0], lines[-1]]
    return " … ".join(line if len(line) <= 160 else line[:159] + "…" for line in ends)
