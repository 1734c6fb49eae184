"""What an earlier platform has left at the Engine: a request that is still being carried out, a signal just sent."""

from __future__ import annotations

import signal

from moorings.runtimes.base import ExitReason, OnClose
from moorings.runtimes.docker import identity
from moorings.runtimes.docker.runtime import DockerRuntime
from moorings.runtimes.fake import Exits, Prints
from tests.contract.runtime_labs import DockerLab, Events
from tests.integration.docker.test_engine_restarts import ON, children
from tests.support.waiting import eventually
from tools.engine import Engine, base_image


async def test_a_container_that_the_engine_makes_for_a_platform_that_has_died_is_removed(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine
) -> None:
    ours = lab.spec(Prints("up"))
    await runtime.start(ours)
    installation = (lab.folder / "docker" / "installation").read_text()
    labels = {identity.INSTALLATION: installation, identity.TOKEN: f"{ours.token}-late"}
    late = engine.ask("POST", "/containers/create", {"Image": base_image.NAME, "Labels": labels})["Id"]

    async def gone() -> bool:
        return late not in {each["Id"] for each in engine.containers()}

    await eventually(gone, "nobody's container is removed")
    assert len(engine.containers(label=[f"{identity.INSTALLATION}={installation}"])) == 1
    assert events.exits(ours.token) == []


async def test_a_signal_from_outside_that_asks_for_no_end_is_no_reason_for_a_later_one(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine
) -> None:
    spec = lab.spec(Prints("up"), on_signal={signal.SIGHUP: [Prints("reloaded")], ON: [Exits(5)]})
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    [container] = engine.containers(label=[f"{identity.TOKEN}={spec.token}"])
    engine.ask("POST", f"/containers/{container['Id']}/kill?signal=SIGHUP")
    await events.line(spec.token, "reloaded")
    assert running.pid is not None
    [child] = children(running.pid)
    signal.pidfd_send_signal(child, ON)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (5, ExitReason.EXIT)


async def test_a_signal_of_the_platform_before_is_not_taken_for_somebody_elses(
    lab: DockerLab, runtime: DockerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("up"), on_signal={signal.SIGTERM: [Prints("heard")], ON: [Exits(5)]})
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    await runtime.signal(spec.token, signal.SIGTERM)
    await events.line(spec.token, "heard")
    await runtime.close(OnClose.KEEP)
    later, told = lab.runtime(), Events()
    await later.open(told)
    try:
        assert running.pid is not None
        [child] = children(running.pid)
        signal.pidfd_send_signal(child, ON)
        exit = await told.exit_of(spec.token)
        assert (exit.code, exit.reason) == (5, ExitReason.EXIT)
    finally:
        await later.close(OnClose.KEEP)
