"""AbortSignal: tells a request's handler, and the exchange made for it, that the client has gone.

Set at most once. It costs one small object: nothing of asyncio is made until somebody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Listener = Callable[[], object]


class AbortSignal:
    """The Fetch standard's AbortSignal, as far as a server needs it. Used from the event loop's thread only."""

    __slots__ = ("_aborted", "_listeners")

    def __init__(self) -> None:
        self._aborted = False
        self._listeners: list[Listener] = []

    @property
    def aborted(self) -> bool:
        """Whether the client has gone."""
        return self._aborted

    async def wait(self) -> None:
        """Return once the client has gone (at once if it already has)."""
        if self._aborted:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self._listeners.append(wake)
        try:
            await woken
        finally:
            self.remove_listener(wake)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener()`` once when the client goes, at once if it has; returns what takes the listener off."""
        if self._aborted:
            listener()
        else:
            self._listeners.append(listener)
        return lambda: self.remove_listener(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Take a listener off; nothing happens where it isn't on."""
        listeners = self._listeners
        if listeners and listeners[-1] is listener:
            listeners.pop()
        elif listener in listeners:
            listeners.remove(listener)

    def fire(self) -> None:
        """Set the signal; later calls do nothing. For the connection that the request came from."""
        if self._aborted:
            return
        self._aborted = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()
