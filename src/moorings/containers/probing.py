"""Is a container's port ready, and if it isn't: why not.

A port is ready when something accepts connections on it, the listener belongs to the container, and, for a class with a
``ping_endpoint``, an HTTP answer comes from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from moorings.containers import readiness
from moorings.containers.incarnation import Probing
from moorings.containers.waiting import first_of, wait_for
from moorings.errors import ConfigError, ContainerFailedToStart, ContainerNotRunning, MooringsError, PortNotReady
from moorings.http import Request
from moorings.proxy import forward, forward_h2

if TYPE_CHECKING:
    from moorings.containers.incarnation import Incarnation
    from moorings.containers.options import ContainerOptions
    from moorings.containers.service import ContainerService
    from moorings.objects.tasks import Tasks
    from moorings.observer import Subject

TAIL_LINES = 20
"""How many of a container's last lines an error about it carries."""


class Owner(Protocol):
    """Whose container is probed: an object's controller, or the pool of spares."""

    @property
    def subject(self) -> Subject: ...

    service: ContainerService
    options: ContainerOptions
    tasks: Tasks


async def all_open(owner: Owner, incarnation: Incarnation, ports: Sequence[int], timeout: float | None) -> None:
    """Wait until ports are ready; those who wait for one port share its probe.

    Without a ``timeout`` (seconds) they share its outcome as well; with one, this call waits as long as that says.
    Raises as ``probe`` does.
    """
    clock = owner.service.clock
    usual = owner.options.port_ready_timeout
    budget = usual if timeout is None else timeout
    deadline = clock.monotonic() + budget
    for port in ports:
        _probing(owner, incarnation, port, deadline - budget, max(budget, usual))
    for port in ports:
        while port not in incarnation.open_ports:
            probing = _probing(owner, incarnation, port, clock.monotonic(), max(budget, usual))
            if probing.until > deadline:
                await first_of(clock, [probing.task], deadline - clock.monotonic())
                if not probing.task.done():
                    raise _not_ready(owner, port, budget, "it has not accepted connections yet")
            try:
                await asyncio.shield(probing.task)
            except PortNotReady:
                if timeout is None or clock.monotonic() >= deadline:
                    raise


def _probing(owner: Owner, incarnation: Incarnation, port: int, now: float, budget: float) -> Probing:
    """The probe of a port that is under way; a new one where there is none."""
    probing = incarnation.probes.get(port)
    if probing is None:
        task = owner.tasks.spawn("probe", probe(owner, incarnation, port, budget), shared=True)
        probing = incarnation.probes[port] = Probing(task, now + budget)
    return probing


async def probe(owner: Owner, incarnation: Incarnation, port: int, budget: float) -> None:
    """Wait until one port is ready and note it in ``open_ports``.

    Raises PortNotReady after ``budget`` seconds, and what ``why_gone`` says where the container ends meanwhile.
    """
    running = incarnation.running
    assert running is not None
    address = running.addresses.get(port)
    if address is None:
        raise ConfigError(
            f"{owner.subject.label} was started before its class declared port {port}; stop it, and the next "
            "request starts it with the port"
        )
    stolen = silent = False

    async def check() -> bool:
        nonlocal stolen, silent
        if not await readiness.accepts(address):
            return False
        stolen = not await owner.service.runtime.owns_listener(incarnation.token, port)
        if stolen:
            return False
        if owner.options.ping_endpoint is None or port != owner.options.fetch_port:
            return True
        silent = not await _ping(owner, incarnation, port, deadline - owner.service.clock.monotonic())
        return not silent

    deadline = owner.service.clock.monotonic() + budget
    try:
        outcome = await readiness.wait_until_ready(
            check, exited=incarnation.exited, timeout=budget, clock=owner.service.clock
        )
    finally:
        incarnation.probes.pop(port, None)
    match outcome:
        case readiness.Outcome.READY:
            incarnation.open_ports.add(port)
        case readiness.Outcome.EXITED:
            raise await why_gone(owner, incarnation)
        case readiness.Outcome.TIMED_OUT:
            why = "nothing accepts connections"
            if stolen:
                why = "a process that is not the container's listens there"
            elif silent:
                why = f"no HTTP answer to {owner.options.ping_endpoint}"
            raise _not_ready(owner, port, budget, f"{why} on {address.host}:{address.port}")


def _not_ready(owner: Owner, port: int, budget: float, why: str) -> PortNotReady:
    return PortNotReady(
        f"{owner.subject.label}: port {port} was not ready {budget:g} s after its start: {why}; does the program "
        f"listen on the port that PORT_{port} names?"
    )


async def _ping(owner: Owner, incarnation: Incarnation, port: int, timeout: float) -> bool:
    """Whether an HTTP answer, whatever its status, comes from the port within ``timeout`` seconds."""

    async def ask() -> bool:
        request = Request(f"http://container/{(owner.options.ping_endpoint or '').lstrip('/')}")
        try:
            if port in owner.options.h2c_ports:
                response = await forward_h2(request, incarnation.h2_pool(port, owner.service.clock))
            else:
                response = await forward(request, incarnation.pool(port, owner.service.clock))
            await response.bytes()
        except MooringsError:
            return False
        return True

    asking = asyncio.ensure_future(ask())
    try:
        answered, outcome = await wait_for(owner.service.clock, asking, timeout)
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    return answered and outcome


async def why_gone(owner: Owner, incarnation: Incarnation) -> Exception:
    """Why an incarnation that was waited for isn't there."""
    if incarnation.start_error is not None:
        return incarnation.start_error
    if incarnation.stopping or not incarnation.exited.done():
        return ContainerNotRunning(f"{owner.subject.label} was stopped while it was starting; try again")
    exit = incarnation.exited.result()
    if incarnation.last_words is None:
        tail = owner.service.runtime.tail(incarnation.token, TAIL_LINES)
        incarnation.last_words = owner.tasks.spawn("tail", tail, shared=True)
    return ContainerFailedToStart(
        f"{owner.subject.label} ended with exit code {exit.code} ({exit.reason}) before it was ready",
        exit_code=exit.code,
        output=await asyncio.shield(incarnation.last_words),
    )
