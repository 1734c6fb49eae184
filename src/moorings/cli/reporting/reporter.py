"""The seam between running a platform and showing that it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moorings.observer import Event, StateChanged, Subject
from moorings.worker.loader import Application


@dataclass(frozen=True, slots=True)
class Restarted:
    """A container that was stopped so that its next request starts it anew, and why."""

    subject: Subject
    reason: str


class Reporter(Protocol):
    """Shows what a platform does. Methods don't raise and don't block."""

    def notify(self, event: Event) -> None:
        """An event of the platform."""

    def bound(self, app: Application, bindings: Mapping[str, str], variables: Sequence[str]) -> None:
        """What is new in ``env``: bindings and their classes, and names of variables (never their values)."""

    def listening(self, url: str, app: Application) -> None:
        """It serves."""

    def reloaded(self, what: str, took: float, restarted: Sequence[Restarted]) -> None:
        """A new version of ``what`` serves, after ``took`` seconds."""

    def not_reloaded(self, what: str, error: BaseException) -> None:
        """The new version of ``what`` doesn't load; the old one keeps serving."""

    def stopping(self, running: int, containers_too: bool) -> None:
        """It was asked to stop while ``running`` containers run."""

    def hurrying(self) -> None:
        """It was asked again."""

    def stopped(self, running: int) -> None:
        """It has stopped; ``running`` containers were left running."""

    def close(self) -> None:
        """Show what is still to be shown; idempotent."""


class Census:
    """Counts the containers that run, from what the platform tells. An observer."""

    def __init__(self) -> None:
        self._up: set[str] = set()

    def notify(self, event: Event) -> None:
        """Take a change of state into account."""
        if not isinstance(event, StateChanged):
            return
        if event.new.startswith("stopped"):
            self._up.discard(event.subject.object_id)
        else:
            self._up.add(event.subject.object_id)

    def __len__(self) -> int:
        return len(self._up)


def count(number: int, noun: str) -> str:
    """``1 container``, ``3 containers``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
