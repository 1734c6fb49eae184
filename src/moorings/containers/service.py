"""What all containers of an app share: the runtime, the budgets, and the way of the runtime's events to each
container.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from moorings.clock import Clock
from moorings.containers.lifecycle import State
from moorings.observer import Notice, Observer, OutputLine, Subject
from moorings.runtimes.base import ContainerRuntime, Exit, Stream

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.incarnation import Incarnation


@dataclass(frozen=True, slots=True)
class Budgets:
    """Wall times in seconds that callers wait at most."""

    instance: float = (
        8.0  # for a place (max_instances) and for the program to exist, and for one that is stopping to end
    )
    ports: float = 20.0  # for the ports to accept
    on_stop: float = 5.0  # for the on_stop hook, before the signal follows
    longest_stop_grace: float | None = None  # caps every class's stop_grace (dev: 10 s)


class Journal(Protocol):
    """Where the moves of containers are recorded, before the hook that announces them runs."""

    def record(self, subject: Subject, state: State, incarnation: Incarnation | None) -> None: ...


class UnrecordedJournal:
    """Keeps nothing: the state of containers ends with the platform."""

    def record(self, subject: Subject, state: State, incarnation: Incarnation | None) -> None:
        return None


class ContainerService:
    """Routes runtime events to controllers by token. Implements RuntimeEvents."""

    def __init__(
        self,
        *,
        app: str,
        runtime: ContainerRuntime,
        clock: Clock,
        observer: Observer,
        journal: Journal,
        budgets: Budgets | None = None,
    ) -> None:
        self.app = app
        self.runtime = runtime
        self.clock = clock
        self.observer = observer
        self.journal = journal
        self.budgets = budgets or Budgets()
        self._controllers: dict[str, Controller] = {}

    def route(self, token: str, controller: Controller) -> None:
        """Send the events of an incarnation to its controller, from before it exists."""
        self._controllers[token] = controller

    def unroute(self, token: str) -> None:
        """The incarnation is over and its exit was handled."""
        self._controllers.pop(token, None)

    def controllers(self) -> list[Controller]:
        """The controllers of all containers that exist or are being started."""
        return list(dict.fromkeys(self._controllers.values()))

    # --- RuntimeEvents --------------------------------------------------------------------------------------------

    def exited(self, token: str, exit: Exit) -> None:
        controller = self._controllers.get(token)
        if controller is not None:
            controller.exited(token, exit)

    def output(self, token: str, stream: Stream, line: str) -> None:
        controller = self._controllers.get(token)
        if controller is not None:
            self.observer.notify(OutputLine(controller.subject, stream, line))

    def unavailable(self, reason: str) -> None:
        self.observer.notify(Notice("error", reason))


Report = Callable[[str, BaseException], None]
