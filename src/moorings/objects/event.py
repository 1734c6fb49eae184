"""What is being handled right now.

Every delivery to an object (a request, an RPC call, an alarm, a hook) is one ``Event``. It travels in a context
variable that holds this one mutable cell: tasks that the handler makes copy the variable but share the cell, so
``switch_port`` inside a child task still means this request, and never another.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING

from moorings.objects.running import refuse_unwinding

if TYPE_CHECKING:
    from moorings.objects.activation import Activation


class EventKind(Enum):
    """How an event is delivered: handlers pass the object's gates, hooks bypass them."""

    HANDLER = "handler"
    CONSTRUCTOR = "constructor"
    HOOK = "hook"


class Event:
    """One delivery to one object.

    ``parent`` is the event whose code caused it. ``port`` is what ``switch_port`` chose for it; a block's event stands
    for the request it is part of, so it has that one's port (``request``).
    """

    __slots__ = ("activation", "kind", "label", "parent", "port", "request")

    def __init__(
        self,
        activation: Activation,
        kind: EventKind,
        label: str,
        parent: Event | None,
        request: Event | None = None,
    ) -> None:
        self.activation = activation
        self.kind = kind
        self.label = label
        self.parent = parent
        self.port: int | None = None
        self.request = self if request is None else request

    def descends_from(self, other: Event) -> bool:
        """Whether ``other`` is this event or one of those that caused it."""
        event: Event | None = self
        while event is not None:
            if event is other:
                return True
            event = event.parent
        return False


async def caller_written() -> None:
    """The output gate of whoever is calling: nothing leaves an object before its writes are durable.

    Raises CancelledError where the caller is being unwound.
    """
    event = current_event.get()
    if event is not None:
        await event.activation.written()
    else:
        refuse_unwinding()


current_event: ContextVar[Event | None] = ContextVar("moorings_current_event", default=None)
