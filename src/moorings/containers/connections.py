"""``self.connections``: the WebSockets that are forwarded to a container, and the tunnels behind all upgrades.

What an object does to them passes its output gate: a message or a close frame leaves once the writes that the object
made before are durable, in the order of the calls. Closing them because the container or the platform ends is the
platform's own doing, and waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from typing import TYPE_CHECKING, Any

from moorings.errors import StoreError
from moorings.http import Request
from moorings.objects.activation import Activation
from moorings.objects.tasks import Tasks
from moorings.proxy import ForwardedWebSocket, Tunnel

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.incarnation import Incarnation


class Connections(Set[ForwardedWebSocket]):
    """The live set of the WebSockets of one container, the oldest first. Iterating goes over a snapshot."""

    __slots__ = ("_activation", "_live", "_tasks", "_waiting")

    def __init__(self, activation: Activation, tasks: Tasks) -> None:
        self._activation = activation
        self._tasks = tasks
        self._live: dict[ForwardedWebSocket, None] = {}
        self._waiting: deque[tuple[Callable[[], None], Callable[[BaseException], None]]] = deque()

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Set[Any]:  # of &, |, -
        return frozenset(it)

    def __contains__(self, connection: object) -> bool:
        return connection in self._live

    def __iter__(self) -> Iterator[ForwardedWebSocket]:
        return iter(tuple(self._live))

    def __len__(self) -> int:
        return len(self._live)

    def __repr__(self) -> str:
        return f"<{len(self._live)} forwarded WebSockets>"

    def opened(self, connection: ForwardedWebSocket) -> None:
        """A WebSocket is being forwarded."""
        self._live[connection] = None

    def ended(self, tunnel: Tunnel) -> None:
        """It isn't any more; nothing happens for other tunnels."""
        if isinstance(tunnel, ForwardedWebSocket):
            self._live.pop(tunnel, None)

    # --- the output gate

    def after_writes(self, action: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        """Call ``action()`` once the object's writes so far are durable, after the actions given before.

        Where they can't be made durable, ``failed(error)`` is called instead.
        """
        if not self._waiting and self._activation.pending_writes() is None:
            action()
            return
        self._waiting.append((action, failed))
        if len(self._waiting) == 1:
            self._tasks.spawn("websocket gate", self._let_out())

    async def _let_out(self) -> None:
        while self._waiting:
            try:
                await self._activation.written()
            except StoreError as error:  # the object is being reset, and what it wanted to tell never happened
                while self._waiting:
                    self._waiting.popleft()[1](error)
                return
            self._waiting[0][0]()
            self._waiting.popleft()


def tunnels_of(
    controller: Controller, incarnation: Incarnation, request: Request
) -> Callable[[str, asyncio.Transport, bytes], Tunnel]:
    """What makes a tunnel into an incarnation for a request, once its container has answered 101."""
    activity, clock, connections = controller.activity, controller.service.clock, controller.connections

    def ended(tunnel: Tunnel) -> None:
        incarnation.tunnel_ended(tunnel)
        connections.ended(tunnel)

    def open_tunnel(protocol: str, transport: asyncio.Transport, rest: bytes) -> Tunnel:
        tunnel: Tunnel
        if protocol.lower() == "websocket":
            tunnel = ForwardedWebSocket(
                transport,
                rest,
                url=request.url,
                clock=clock,
                gate=connections.after_writes,
                stopping=lambda: incarnation.stopping,
                on_activity=activity.renew,
                on_open=connections.opened,
                on_end=ended,
            )
        else:
            tunnel = Tunnel(transport, rest, clock=clock, on_activity=activity.renew, on_end=ended)
        incarnation.tunnels.add(tunnel)
        return tunnel

    return open_tunnel
