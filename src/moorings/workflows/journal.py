"""What one instance has recorded of its steps, and how it records more.

A replay takes what is here in any order: steps are known by their name and kind. ``unmet`` counts the recorded steps
that the code has not asked for yet; where it asks for others instead, the code has changed.

Invariants: every write names the instance's fence and must change exactly one row. A step is recorded before the code
that follows it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from moorings.store import Commit, Group
from moorings.workflows import records
from moorings.workflows.lifecycle import StepKind, StepState


class Entry:
    """One step, the ``number``th of its instance. ``attempts`` were charged; ``cut_off`` ended with the platform.

    ``used``: this run has asked for it; ``fresh``: it was not recorded when this run began.
    """

    __slots__ = (
        "attempts", "began", "cut_off", "due", "ended", "error", "event_type", "fresh", "kind", "name", "number",
        "output", "state", "used",
    )  # fmt: skip

    def __init__(self, name: str, number: int, kind: StepKind, state: StepState, began: float) -> None:
        self.name = name
        self.number = number
        self.kind = kind
        self.state = state
        self.attempts = 0
        self.cut_off = 0
        self.due: float | None = None
        self.event_type: str | None = None
        self.output: str | None = None
        self.error: str | None = None
        self.began = began
        self.ended: float | None = None
        self.used = False
        self.fresh = False


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A row of the table (``records.STEP``) as an entry."""
    _, name, number, kind, state, attempts, cut_off, due, event_type, output, error, began, ended = row
    entry = Entry(name, number, StepKind(kind), StepState(state), began)
    entry.attempts, entry.cut_off, entry.due, entry.event_type = attempts, cut_off, due, event_type
    entry.output, entry.error, entry.ended = output, error, ended
    return entry


class Journal:
    """The steps of one instance, by name."""

    __slots__ = ("_fence", "_group", "_key", "entries", "events", "known_events", "unmet")

    def __init__(
        self,
        key: int,
        fence: int,
        group: Group,
        *,
        steps: Iterable[tuple[Any, ...]] = (),
        events: Iterable[records.EventRow] = (),
    ) -> None:
        """``steps`` and ``events`` are what is stored; an attempt that was under way was cut off."""
        self._key = key
        self._fence = fence
        self._group = group
        self.entries: dict[str, Entry] = {}
        for row in steps:
            entry = entry_of(row)
            if entry.state is StepState.RUNNING:
                entry.cut_off += 1
            self.entries[entry.name] = entry
        self.unmet = len(self.entries)
        self.events: list[records.EventRow] = list(events)
        self.known_events = {event.number for event in self.events}

    def write(self, entry: Entry) -> Commit:
        """Store a step as it is now; it is durable when the commit is. Raises StoreError where the run is lost."""
        return self._group.write(
            records.RECORD,
            (
                self._key,
                entry.name,
                entry.number,
                entry.kind,
                entry.state,
                entry.attempts,
                entry.cut_off,
                entry.due,
                entry.event_type,
                entry.output,
                entry.error,
                entry.began,
                entry.ended,
                self._key,
                self._fence,
            ),
            expect=1,
        )

    def take_event(self, event_type: str) -> records.EventRow | None:
        """The earliest event of a type, which is nobody else's from now on; its row goes with ``forget_event``."""
        for index, event in enumerate(self.events):
            if event.type == event_type:
                return self.events.pop(index)
        return None

    def forget_event(self, event: records.EventRow) -> None:
        """Delete the row of an event that was taken, in one unit with what is written in this turn."""
        self._group.write(records.TAKEN, (self._key, event.number))

    def unmet_names(self) -> list[str]:
        """The recorded steps that the code has not asked for, as ``'name' (kind)``."""
        return [f"{entry.name!r} ({entry.kind})" for entry in self.entries.values() if not entry.used]
