"""What the platform tells about itself: one stream of small events, and whoever wants to look.

Events are frozen values. An observer must not raise and must not block; the platform never waits for one. Nothing is
emitted on the path of a warm request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Subject:
    """Which object an event is about: the class's name, the id (64 hex digits) and the name, where it has one."""

    class_name: str
    object_id: str
    name: str | None

    @property
    def label(self) -> str:
        """``SessionBackend/alice``, or the first digits of the id where there is no name."""
        return f"{self.class_name}/{self.name if self.name is not None else self.object_id[:12]}"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A container moved from one state to another."""

    subject: Subject
    old: str
    new: str
    exit_code: int | None
    at: float


@dataclass(frozen=True, slots=True)
class OutputLine:
    """A container printed a line (without its line end)."""

    subject: Subject
    stream: Literal["stdout", "stderr"]
    line: str


@dataclass(frozen=True, slots=True)
class ErrorReported:
    """An error that no caller is left to receive: a hook, a background task, a handler whose client is gone."""

    where: str
    error: BaseException
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator should know, in one sentence. ``level`` is a logging level's name in lower case."""

    level: Literal["debug", "info", "warning", "error"]
    message: str
    detail: str = ""


Event = StateChanged | OutputLine | ErrorReported | Notice


class Observer(Protocol):
    """Receives events, on the event loop's thread."""

    def notify(self, event: Event) -> None: ...


class NullObserver:
    """Looks away."""

    def notify(self, event: Event) -> None:
        return None


class Recorder:
    """Keeps every event, for tests."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


class Observers:
    """Hands each event to several observers, in order."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def notify(self, event: Event) -> None:
        for observer in self._observers:
            observer.notify(event)
