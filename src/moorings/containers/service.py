"""What all containers of an app share: the runtime, the budgets, and the way of its events to each container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from moorings.clock import Clock, TimerHandle
from moorings.containers.records import ContainerRecords
from moorings.observer import Notice, Observer, OutputLine
from moorings.runtimes.base import ContainerRuntime, Exit, Stream

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.spares import SparePool

KEEP_ACTIVITY = 5.0
"""Seconds between the times at which activity clocks are stored, all that moved in one commit."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """Wall times in seconds that are waited at most; those of a class are in its options."""

    existence: float = 8.0  # for the program to exist, once it is the start's turn
    end: float = 8.0  # for the end of one that was killed
    on_stop: float = 5.0  # for the on_stop hook, before the signal follows
    hook: float = 30.0  # for on_activity_expired to decide
    longest_stop_grace: float | None = None  # caps every class's stop_grace (dev: 10 s)


class Images(Protocol):
    """Where containers run from images: what they are called, once they are there."""

    async def ready(self, class_name: str) -> None:
        """Wait until a class's image is there, however long its build takes.

        Raises ContainerFailedToStart where it can't be built or pulled, RuntimeUnavailable.
        """

    def lost(self, class_name: str) -> None:
        """A class's image isn't there after all: ``ready`` has it anew."""

    def name(self, class_name: str) -> str | None:
        """What a class's image is called; None where it runs from none."""


class NoImages:
    """For runtimes that know no images."""

    async def ready(self, class_name: str) -> None:
        return None

    def lost(self, class_name: str) -> None:
        return None

    def name(self, class_name: str) -> str | None:
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
        records: ContainerRecords,
        budgets: Budgets | None = None,
    ) -> None:
        self.app = app
        self.runtime = runtime
        self.clock = clock
        self.observer = observer
        self.records = records
        self.budgets = budgets or Budgets()
        self.images: Images = NoImages()
        self._controllers: dict[str, Controller] = {}
        self._spares: dict[str, SparePool] = {}
        self._keeping: TimerHandle | None = None

    def route(self, token: str, controller: Controller) -> None:
        """Send the events of an incarnation to its controller, from before it exists."""
        self._controllers[token] = controller
        if self._keeping is None:
            self._keeping = self.clock.call_later(KEEP_ACTIVITY, self._keep_activity)

    def unroute(self, token: str) -> None:
        """The incarnation is over and its exit was handled."""
        self._controllers.pop(token, None)
        if not self._controllers and self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def route_spare(self, token: str, pool: SparePool) -> None:
        """Send the events of a spare to its pool, from before it exists."""
        self._spares[token] = pool

    def unroute_spare(self, token: str) -> None:
        """It is over, or no spare any more."""
        self._spares.pop(token, None)

    def _keep_activity(self) -> None:
        self._keeping = self.clock.call_later(KEEP_ACTIVITY, self._keep_activity)
        for controller in self._controllers.values():
            controller.books.keep_activity()

    def controllers(self) -> list[Controller]:
        """The controllers of all containers that exist or are being started."""
        return list(dict.fromkeys(self._controllers.values()))

    # --- RuntimeEvents --------------------------------------------------------------------------------------------

    def exited(self, token: str, exit: Exit) -> None:
        controller = self._controllers.get(token)
        if controller is not None:
            controller.exited(token, exit)
        elif (pool := self._spares.get(token)) is not None:
            pool.exited(token, exit)

    def output(self, token: str, stream: Stream, line: str) -> None:
        owner = self._controllers.get(token) or self._spares.get(token)
        if owner is not None:
            self.observer.notify(OutputLine(owner.subject, stream, line))

    def unavailable(self, reason: str) -> None:
        self.observer.notify(Notice("error", reason))
