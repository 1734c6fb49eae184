"""What ``runtimes.base`` promises of containers that are started before it is known whose they are."""

from __future__ import annotations

import signal
from dataclasses import replace

from moorings.runtimes.base import ContainerRuntime, LogSource, OnClose, StartSpec
from moorings.runtimes.fake import Exits, Prints
from tests.contract.runtime_labs import Events, Lab, reopened


def unowned(lab: Lab) -> StartSpec:
    spec = lab.spec(
        Prints("warm"), on_signal={signal.SIGUSR1: [Prints("at work")], signal.SIGTERM: [Prints("done"), Exits(7)]}
    )
    return replace(spec, object_id="", name=None)


async def printed(runtime: ContainerRuntime, source: LogSource) -> list[str]:
    return [line.line async for line in runtime.logs(source)]


async def test_what_a_container_printed_before_and_after_it_was_assigned_is_its_objects(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, owner = unowned(lab), lab.spec()
    other = unowned(lab)
    source = LogSource(spec.class_name, owner.object_id, owner.name)
    for each in (spec, other):
        assert (await runtime.start(each)).object_id == ""
        await events.line(each.token, "warm")
    await runtime.assign(spec.token, owner.object_id, owner.name)
    await runtime.assign(spec.token, owner.object_id, owner.name)
    await runtime.signal(spec.token, signal.SIGUSR1)
    await events.line(spec.token, "at work")
    assert await printed(runtime, source) == ["warm", "at work"]
    await runtime.signal(spec.token, signal.SIGTERM)
    assert (await events.exit_of(spec.token)).code == 7
    await runtime.forget(spec.token)
    assert await printed(runtime, source) == ["warm", "at work", "done"]
    await runtime.kill(other.token)
    await events.exit_of(other.token)


async def test_one_that_was_not_assigned_is_found_without_an_object_and_can_be_assigned_then(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec, owner = unowned(lab), lab.spec()
    await runtime.start(spec)
    await events.line(spec.token, "warm")
    await runtime.close(OnClose.KEEP)
    again, _, found = await reopened(lab)
    assert [(each.token, each.object_id, each.name) for each in found.running] == [(spec.token, "", None)]
    await again.assign(spec.token, owner.object_id, owner.name)
    assert await printed(again, LogSource(spec.class_name, owner.object_id, owner.name)) == ["warm"]
    await again.close(OnClose.KILL)


async def test_assigning_nobody_does_nothing(runtime: ContainerRuntime, events: Events) -> None:
    await runtime.assign("nobody", "0" * 64, "name")
    assert events.log == []
