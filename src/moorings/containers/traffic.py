"""A request's way into a container: which port, is it ready, and the bytes.

A warm request passes here without a lock, a timer or a task of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorings.containers.connections import tunnels_of
from moorings.containers.waiting import first_of
from moorings.errors import ConfigError
from moorings.http import Request, Response
from moorings.http.grpc import is_call
from moorings.objects.event import current_event
from moorings.proxy import ConnectFailed, forward, forward_h2, switch

if TYPE_CHECKING:
    from moorings.containers.controller import Controller

EXIT_NOTICE = 0.1
"""Seconds that a refused connection waits for the exit that may explain it."""


def port_of(controller: Controller, request: Request, port: int | None) -> int:
    """The port a request goes to: the one given, else the request's or the event's own choice, else the class's."""
    if port is None:
        port = request.container_port
    if port is None:
        event = current_event.get()
        if event is not None and event.request.port is not None and event.activation is controller.activation:
            port = event.request.port
        else:
            port = controller.options.fetch_port
    if port is None:
        name = controller.subject.class_name
        raise ConfigError(f"{name} has no port to send a request to: set {name}.default_port")
    return port


async def send(controller: Controller, request: Request, port: int | None = None) -> Response:
    """Forward a request into the container, starting it and waiting for the port where need be."""
    port = port_of(controller, request, port)
    activity = controller.activity
    fields = request.fields
    upgrade = request.upgrade if fields is None else fields.upgrade
    h2 = upgrade is None and (port in controller.options.h2c_ports or is_call(request))
    for attempt in (1, 2):
        activity.begin()
        try:
            if port not in controller.warm_ports:
                await controller.ready((port,))
            incarnation = controller.incarnation
            assert incarnation is not None
            if not h2:
                pool = incarnation.pools.get(port) or controller.pool(incarnation, port)
        except BaseException:
            activity.end()
            raise
        try:
            if h2:
                h2_pool = controller.h2_pool(incarnation, port)
                return await forward_h2(request, h2_pool, on_end=activity.end)
            if upgrade is None:
                return await forward(request, pool, on_end=activity.end)
            return await switch(request, pool, tunnels_of(controller, incarnation, request), on_end=activity.end)
        except ConnectFailed:
            # Nothing was written. Where the container has just ended, a new one serves the request.
            if attempt == 2:
                raise
            await first_of(controller.service.clock, [incarnation.exited], EXIT_NOTICE)
            if not incarnation.exited.done():
                raise
            request.give_back()
    raise AssertionError("unreachable")
