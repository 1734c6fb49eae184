"""The Engine goes away and comes back: who survives, who is told, and what works again without a restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from moorings.errors import RuntimeUnavailable
from moorings.runtimes.base import ExitReason
from moorings.runtimes.docker.runtime import DockerRuntime
from moorings.runtimes.fake import Exits, Listens, Prints
from tests.contract.runtime_labs import DockerLab, Events
from tools.engine import Engine

ON = signal.SIGUSR1


@pytest.fixture
def live_restore(engine: Engine) -> Iterator[Engine]:
    """The Engine with live-restore on."""
    engine.stop()
    engine.start("--live-restore")
    yield engine
    engine.stop()
    engine.start()


async def restarted(engine: Engine, *options: str, signum: int = signal.SIGTERM) -> None:
    await asyncio.to_thread(engine.stop, signum)
    engine.start(*options)  # by this thread: an Engine ends with the thread that started it


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_containers_that_end_with_the_engine_are_told_and_the_next_start_works(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine, signum: int
) -> None:
    specs = [lab.spec(Prints("up")) for _ in range(2)]
    for spec in specs:
        await runtime.start(spec)
        await events.line(spec.token, "up")
    await restarted(engine, signum=signum)
    assert "went away" in await events.unavailability()
    for spec in specs:
        exit = await events.exit_of(spec.token)
        assert exit.reason is ExitReason.PLATFORM
        await runtime.forget(spec.token)
    later = lab.spec(Prints("again"), Exits(0))
    await runtime.start(later)
    await events.line(later.token, "again")
    await events.exit_of(later.token)


async def test_their_end_is_told_while_the_engine_is_still_away(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine
) -> None:
    spec = lab.spec(Prints("up"))
    await runtime.start(spec)
    await events.line(spec.token, "up")
    await asyncio.to_thread(engine.stop)
    exit = await events.exit_of(spec.token)
    assert exit.reason is ExitReason.PLATFORM
    with pytest.raises(RuntimeUnavailable, match="Docker can't be reached"):
        await runtime.start(lab.spec())
    engine.start()
    later = lab.spec(Exits(3))
    await runtime.start(later)
    assert (await events.exit_of(later.token)).code == 3


async def test_with_live_restore_containers_go_on_and_report_to_the_engine_that_is_back(
    live_restore: Engine, lab: DockerLab, runtime: DockerRuntime, events: Events
) -> None:
    spec = lab.spec(
        Prints("up"), Listens(3000), ports=(3000,), on_signal={ON: [Prints("still here")], signal.SIGTERM: [Exits(4)]}
    )
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    await asyncio.to_thread(live_restore.stop)
    await events.unavailability()
    address = running.addresses[3000]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"ping"
    writer.close()
    await runtime.signal(spec.token, ON)  # it waits for the Engine
    live_restore.start("--live-restore")
    await events.line(spec.token, "still here")
    assert events.exits(spec.token) == []
    assert events.lines(spec.token) == ["up", "still here"]
    await runtime.signal(spec.token, signal.SIGTERM)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (4, ExitReason.EXIT)


async def test_with_live_restore_an_end_during_the_absence_is_told_with_its_code(
    live_restore: Engine, lab: DockerLab, runtime: DockerRuntime, events: Events
) -> None:
    ending, killed = lab.spec(Prints("up"), on_signal={ON: [Exits(5)]}), lab.spec(Prints("up"))
    running = await runtime.start(ending)
    await runtime.start(killed)
    for spec in (ending, killed):
        await events.line(spec.token, "up")
    await asyncio.to_thread(live_restore.stop)
    await events.unavailability()
    assert running.pid is not None
    await runtime.kill(killed.token)
    [child] = children(running.pid)
    signal.pidfd_send_signal(child, ON)
    live_restore.start("--live-restore")
    exit = await events.exit_of(ending.token)
    assert (exit.code, exit.reason) == (5, ExitReason.EXIT)
    assert (await events.exit_of(killed.token)).reason is ExitReason.DESTROYED


def children(pid: int) -> list[int]:
    """Descriptors of the processes below the container's init."""
    import os

    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [os.pidfd_open(int(each)) for each in file.read().split()]
