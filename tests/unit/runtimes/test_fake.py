"""The scripted fake under a clock that the test moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from moorings.clock import ManualClock
from moorings.errors import ContainerFailedToStart
from moorings.runtimes.base import ExitReason, OnClose, StartSpec
from moorings.runtimes.fake import Exits, FakeMachine, FakeRuntime, Listens, Prints, Script, StopsListening, Waits
from tests.contract.runtime_labs import Events

_SPEC = StartSpec(
    token="t",
    app="a",
    class_name="C",
    object_id="0" * 64,
    name="n",
    entrypoint=("x",),
    directory=Path("/"),
    ports=(3000,),
)


async def _opened(script: Script, clock: ManualClock) -> tuple[FakeRuntime, Events]:
    runtime, events = FakeRuntime(clock=clock, script=script), Events()
    await runtime.open(events)
    return runtime, events


async def test_steps_happen_when_the_clock_says() -> None:
    clock = ManualClock()
    script = Script([Prints("up"), Waits(5), Listens(3000), Waits(60), Prints("bye", "stderr"), Exits(3)])
    runtime, events = await _opened(script, clock)
    running = await runtime.start(_SPEC)
    assert events.log == []
    await clock.settle()
    assert events.lines("t") == ["up"]
    await clock.advance(4.9)
    assert not runtime.machine.accepts(running.addresses[3000])
    await clock.advance(0.1)
    assert runtime.machine.accepts(running.addresses[3000])
    assert await runtime.owns_listener("t", 3000)
    await clock.advance(60)
    [exit] = events.exits("t")
    assert (exit.code, exit.at) == (3, clock.time())
    assert events.lines("t", "stderr") == ["bye"]
    assert runtime.machine.running == []
    await runtime.close(OnClose.KILL)


async def test_a_start_takes_its_time_and_may_fail() -> None:
    clock = ManualClock()
    runtime, _ = await _opened(Script(start_takes=2, fails="no such thing"), clock)
    starting = asyncio.ensure_future(runtime.start(_SPEC))
    await clock.advance(1.9)
    assert not starting.done()
    await clock.advance(0.1)
    with pytest.raises(ContainerFailedToStart, match="no such thing"):
        await starting
    assert runtime.machine.started == [_SPEC]
    await runtime.close(OnClose.KILL)


async def test_a_script_is_chosen_by_spec_and_a_test_can_change_its_course() -> None:
    clock = ManualClock()
    scripts = {"t": Script([Prints("one")]), "u": Script([Prints("two")])}
    machine = FakeMachine(clock, lambda spec: scripts[spec.token])
    runtime, events = FakeRuntime(machine), Events()
    await runtime.open(events)
    await runtime.start(_SPEC)
    await runtime.start(replace(_SPEC, token="u"))
    machine.follow("t", Waits(1), Exits(9))
    machine.end("u", 137, ExitReason.OOM)
    await clock.advance(1)
    assert (events.exits("t")[0].code, events.exits("u")[0].reason) == (9, ExitReason.OOM)
    await runtime.close(OnClose.KILL)


async def test_a_port_can_close_and_open_again() -> None:
    clock = ManualClock()
    script = Script([Listens(3000), Waits(1), StopsListening(3000), Waits(1), Listens(3000)])
    runtime, _ = await _opened(script, clock)
    running = await runtime.start(_SPEC)
    address = running.addresses[3000]
    await clock.settle()
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.close()
    await writer.wait_closed()
    await clock.advance(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address.host, address.port)
    await clock.advance(1)
    assert runtime.machine.accepts(address)
    await runtime.close(OnClose.KILL)


async def test_what_was_asked_for_is_recorded() -> None:
    clock = ManualClock()
    runtime, events = await _opened(Script(on_signal={15: []}), clock)
    await runtime.start(_SPEC)
    await runtime.signal("t", 15)
    await runtime.kill("t")
    await clock.settle()
    assert (runtime.machine.signals, runtime.machine.killed) == ([("t", 15)], ["t"])
    assert events.exits("t")[0].reason is ExitReason.DESTROYED
    await runtime.close(OnClose.KILL)


async def test_a_machine_that_collapses_takes_its_containers_along() -> None:
    clock = ManualClock()
    runtime, events = await _opened(Script(), clock)
    await runtime.start(_SPEC)
    runtime.machine.collapse("pulled the plug")
    assert [each.kind for each in events.log] == ["unavailable", "exited"]
    assert events.exits("t")[0].reason is ExitReason.PLATFORM
    await runtime.close(OnClose.KILL)


async def test_a_container_goes_on_while_no_runtime_is_connected() -> None:
    clock = ManualClock()
    runtime, _ = await _opened(Script([Waits(10), Exits(4)]), clock)
    running = await runtime.start(_SPEC)
    await runtime.close(OnClose.KEEP)
    await clock.advance(10)
    again = FakeRuntime(runtime.machine)
    found = await again.open(Events())
    [(ended, exit)] = found.ended
    assert (ended, exit.code) == (running, 4)
    await again.close(OnClose.KILL)
