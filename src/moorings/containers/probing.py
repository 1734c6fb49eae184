"""Is a container's port ready, and if it isn't: why not.

A port is ready when something accepts connections on it, the listener belongs to the container, and, for a class with a
``ping_endpoint``, an HTTP answer comes from it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from moorings.containers import readiness
from moorings.containers.waiting import wait_for
from moorings.errors import ConfigError, ContainerFailedToStart, ContainerNotRunning, MooringsError, PortNotReady
from moorings.http import Request
from moorings.proxy import forward, forward_h2

if TYPE_CHECKING:
    from moorings.containers.controller import Controller
    from moorings.containers.incarnation import Incarnation

TAIL_LINES = 20
"""How many of a container's last lines an error about it carries."""


async def probe(controller: Controller, incarnation: Incarnation, port: int) -> None:
    """Wait until one port is ready and note it in ``open_ports``.

    Raises PortNotReady when its budget is used up, and what ``why_gone`` says where the container ends meanwhile.
    """
    running = incarnation.running
    assert running is not None
    address = running.addresses.get(port)
    if address is None:
        raise ConfigError(
            f"{controller.subject.label} was started before its class declared port {port}; stop it, and the next "
            "request starts it with the port"
        )
    stolen = silent = False

    async def check() -> bool:
        nonlocal stolen, silent
        if not await readiness.accepts(address):
            return False
        stolen = not await controller.service.runtime.owns_listener(incarnation.token, port)
        if stolen:
            return False
        if controller.options.ping_endpoint is None or port != controller.options.fetch_port:
            return True
        silent = not await _ping(controller, incarnation, port, deadline - controller.service.clock.monotonic())
        return not silent

    budget = controller.service.budgets.ports
    deadline = controller.service.clock.monotonic() + budget
    try:
        outcome = await readiness.wait_until_ready(
            check, exited=incarnation.exited, timeout=budget, clock=controller.service.clock
        )
    finally:
        incarnation.probes.pop(port, None)
    match outcome:
        case readiness.Outcome.READY:
            incarnation.open_ports.add(port)
        case readiness.Outcome.EXITED:
            raise await why_gone(controller, incarnation)
        case readiness.Outcome.TIMED_OUT:
            why = "nothing accepts connections"
            if stolen:
                why = "a process that is not the container's listens there"
            elif silent:
                why = f"no HTTP answer to {controller.options.ping_endpoint}"
            raise PortNotReady(
                f"{controller.subject.label}: port {port} was not ready {budget:g} s after its start: {why} on "
                f"{address.host}:{address.port}; does the program listen on the port that PORT_{port} names?"
            )


async def _ping(controller: Controller, incarnation: Incarnation, port: int, timeout: float) -> bool:
    """Whether an HTTP answer, whatever its status, comes from the port within ``timeout`` seconds."""

    async def ask() -> bool:
        request = Request(f"http://container/{(controller.options.ping_endpoint or '').lstrip('/')}")
        try:
            if port in controller.options.h2c_ports:
                response = await forward_h2(request, controller.h2_pool(incarnation, port))
            else:
                response = await forward(request, controller.pool(incarnation, port))
            await response.bytes()
        except MooringsError:
            return False
        return True

    asking = asyncio.ensure_future(ask())
    try:
        answered, outcome = await wait_for(controller.service.clock, asking, timeout)
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    return answered and outcome


async def why_gone(controller: Controller, incarnation: Incarnation) -> Exception:
    """Why an incarnation that was waited for isn't there."""
    if incarnation.start_error is not None:
        return incarnation.start_error
    if incarnation.stopping or not incarnation.exited.done():
        return ContainerNotRunning(f"{controller.subject.label} was stopped while it was starting; try again")
    exit = incarnation.exited.result()
    if incarnation.last_words is None:
        tail = controller.service.runtime.tail(incarnation.token, TAIL_LINES)
        incarnation.last_words = controller.tasks.spawn("tail", tail, shared=True)
    return ContainerFailedToStart(
        f"{controller.subject.label} ended with exit code {exit.code} ({exit.reason}) before it was ready",
        exit_code=exit.code,
        output=await asyncio.shield(incarnation.last_words),
    )
