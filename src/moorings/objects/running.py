"""Whose code is running, where it may be unwound while it waits.

The code of a workflow is taken out of memory whenever all of it waits: its coroutines are cancelled, so the user's
``finally`` blocks run then, and what they ask of the platform must neither happen nor succeed. Calls that leave the
user's code (stubs, ``fetch``, queues, workflows) ask here first.

Invariant: code that an object runs is never refused, whoever called it: it belongs to the object.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Protocol


class Unwindable(Protocol):
    """A piece of running code that may be unwound."""

    @property
    def unwinding(self) -> bool:
        """Whether it is being unwound: what it asks for now must do nothing."""


current_code: ContextVar[Unwindable | None] = ContextVar("moorings_current_code", default=None)


def refuse_unwinding() -> None:
    """Raises CancelledError, which goes on unwinding, where the code that is running is being unwound."""
    code = current_code.get()
    if code is not None and code.unwinding:
        raise asyncio.CancelledError("the platform does nothing for code that is being unwound")
