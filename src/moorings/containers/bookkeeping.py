"""One container's row in the store: written with every move, before the hook that announces it runs.

A store that refuses a write is reported, and the container goes on: what runs must not fail because a disk is full.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from moorings.containers.lifecycle import DOWN, UP, Status
from moorings.containers.records import ContainerRecord, PendingExit
from moorings.errors import StoreError
from moorings.runtimes.base import Exit

if TYPE_CHECKING:
    from moorings.containers.controller import Controller

T = TypeVar("T")


class Bookkeeping:
    """Keeps one controller's row."""

    __slots__ = ("_controller", "_kept_activity", "recalled")

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._kept_activity = 0.0
        self.recalled = False
        """Whether memory knows what the store does."""

    def claim(self) -> Awaitable[None] | None:
        """Store that the incarnation, a spare until now, runs as this object's. Returns as ``write``."""
        record = replace(self._record(), status=Status.RUNNING)
        return self._reported(lambda: self._controller.service.records.claim(record))

    def write(self) -> Awaitable[None] | None:
        """Store the state as it is now. Returns what to await until that is durable."""
        record = self._record()
        return self._reported(lambda: self._controller.service.records.write(record))

    def _record(self) -> ContainerRecord:
        controller = self._controller
        self._kept_activity = controller.activity.last
        incarnation = controller.incarnation
        clock = controller.service.clock
        idle = 0.0 if controller.activity.in_flight else clock.monotonic() - controller.activity.last
        return ContainerRecord(
            class_name=controller.subject.class_name,
            object_id=controller.activation.id.raw,
            name=controller.subject.name,
            status=controller.status,
            last_change=controller.last_change,
            exit_code=controller.exit_code,
            token=None if incarnation is None else incarnation.token,
            active_at=clock.time() - idle,
            kill_at=None if incarnation is None else incarnation.kill_at,
            started=incarnation is not None and incarnation.started,
        )

    def ended(self, token: str, exit: Exit) -> None:
        """Store that ``on_exit`` has to run."""
        subject, raw = self._controller.subject, self._controller.activation.id.raw
        end = PendingExit(token, subject.class_name, raw, subject.name, exit.code, exit.reason, exit.at)
        self._reported(lambda: self._controller.service.records.ended(end))

    def told(self, token: str) -> None:
        """Store that ``on_exit`` has run."""
        self._reported(lambda: self._controller.service.records.told(token))

    def keep_activity(self) -> None:
        """Store the activity clock where it has moved since it was stored last."""
        activity = self._controller.activity
        if self._controller.status in UP and (activity.in_flight or activity.last != self._kept_activity):
            self.write()

    async def recall(self) -> None:
        """Learn from the store how the container ended last, where memory has nothing of it. Raises StoreError."""
        controller = self._controller
        if controller.incarnation is not None or self.recalled:
            return
        self.recalled = True
        record = await controller.service.records.find(controller.subject.class_name, controller.activation.id.raw)
        if record is not None and record.status in DOWN and controller.status in DOWN:
            controller.status, controller.last_change = record.status, record.last_change
            controller.exit_code = record.exit_code

    async def durable(self, written: Awaitable[None] | None) -> bool:
        """Wait until a write is durable. False where the store refused it, which is reported already."""
        if written is not None:
            try:
                await written
            except StoreError:
                return False
        return True

    def _reported(self, write: Callable[[], T]) -> T | None:
        try:
            return write()
        except StoreError as error:
            self._controller.activation.report("container state", error)
            return None
