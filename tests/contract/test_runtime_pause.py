"""What ``runtimes.base`` promises of ``pause`` and ``unpause``, held against every implementation."""

from __future__ import annotations

import asyncio
import signal

from moorings.runtimes.base import ContainerRuntime, ExitReason, OnClose, Running, StartSpec
from moorings.runtimes.fake import Exits, Listens, Prints, Waits
from tests.contract.runtime_labs import Events, Lab, reopened


async def up(lab: Lab, runtime: ContainerRuntime, events: Events) -> tuple[StartSpec, Running]:
    """An echo service that is up, says what SIGUSR1 tells it, and ends with 7 on SIGTERM."""
    spec = lab.spec(
        Listens(3000),
        Prints("up"),
        ports=(3000,),
        on_signal={signal.SIGUSR1: [Prints("heard")], signal.SIGTERM: [Prints("goodbye"), Exits(7)]},
    )
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    return spec, running


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bool:
    """Whether a service that is up would have answered by now; and did."""
    writer.write(data)
    try:
        async with asyncio.timeout(20):
            return await reader.readexactly(len(data)) == data
    except TimeoutError:
        return False


async def test_a_paused_container_does_nothing_and_what_came_meanwhile_is_done_when_it_is_thawed(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, running = await up(lab, runtime, events)
    other, witness = await up(lab, runtime, events)
    address, beside = running.addresses[3000], witness.addresses[3000]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    watch = await asyncio.open_connection(beside.host, beside.port)
    assert await echoed(reader, writer, b"before")
    await runtime.pause(spec.token)
    writer.write(b"during")
    await runtime.signal(spec.token, signal.SIGUSR1)
    await runtime.signal(other.token, signal.SIGUSR1)
    await events.line(other.token, "heard")
    for _ in range(10):  # the other one has answered ten times, and this one not once
        assert await echoed(*watch, b"tick")
    answer = asyncio.ensure_future(reader.readexactly(6))
    await asyncio.sleep(0)
    assert not answer.done()
    assert events.lines(spec.token) == ["up"]
    await runtime.unpause(spec.token)
    async with asyncio.timeout(20):
        assert await answer == b"during"
    await events.line(spec.token, "heard")
    for each in (writer, watch[1]):
        each.close()
        await each.wait_closed()


async def test_pausing_and_unpausing_twice_is_as_good_as_once(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, _ = await up(lab, runtime, events)
    await runtime.unpause(spec.token)
    await runtime.pause(spec.token)
    await runtime.pause(spec.token)
    await runtime.unpause(spec.token)
    await runtime.unpause(spec.token)
    await runtime.signal(spec.token, signal.SIGUSR1)
    await events.line(spec.token, "heard")


async def test_a_paused_container_is_killed_without_being_thawed(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, _ = await up(lab, runtime, events)
    await runtime.pause(spec.token)
    await runtime.kill(spec.token)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (128 + signal.SIGKILL, ExitReason.DESTROYED)
    await runtime.unpause(spec.token)
    assert len(events.exits(spec.token)) == 1


async def test_a_signal_to_a_paused_container_ends_it_in_its_own_way_once_it_is_thawed(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, _ = await up(lab, runtime, events)
    await runtime.pause(spec.token)
    await runtime.unpause(spec.token)
    await runtime.signal(spec.token, signal.SIGTERM)
    assert (await events.exit_of(spec.token)).code == 7
    assert events.lines(spec.token)[-1] == "goodbye"


async def test_a_paused_container_is_found_paused_and_one_that_was_thawed_is_not(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, _ = await up(lab, runtime, events)
    other, _ = await up(lab, runtime, events)
    for each in (spec, other):
        await runtime.pause(each.token)
    await runtime.unpause(other.token)
    await runtime.close(OnClose.KEEP)
    again, later, found = await reopened(lab)
    assert {running.token: running.paused for running in found.running} == {spec.token: True, other.token: False}
    await again.unpause(spec.token)
    await again.signal(spec.token, signal.SIGUSR1)
    await later.line(spec.token, "heard")
    await again.close(OnClose.KILL)


async def test_closing_with_kill_leaves_no_paused_container(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, _ = await up(lab, runtime, events)
    await runtime.pause(spec.token)
    await runtime.close(OnClose.KILL)
    assert [exit.reason for exit in events.exits(spec.token)] == [ExitReason.DESTROYED]
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert (list(found.running), list(found.ended)) == ([], [])


async def test_pausing_nobody_or_one_that_has_ended_does_nothing(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Exits(3))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    for token in (spec.token, "nobody"):
        await runtime.pause(token)
        await runtime.unpause(token)
    assert [exit.code for exit in events.exits(spec.token)] == [3]


async def test_one_that_ends_while_it_is_being_paused_is_reported(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    specs = [lab.spec(Waits(wait / 1000), Exits(4)) for wait in (0, 2, 7)]
    for spec in specs:
        await runtime.start(spec)
        await runtime.pause(spec.token)
    for spec in specs:
        await runtime.unpause(spec.token)
        assert (await events.exit_of(spec.token)).code == 4
