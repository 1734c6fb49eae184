"""How long a caller waits: for a place, for its turn, for the program, for its ports; and who says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.errors import NoInstanceAvailable, PortNotReady
from moorings.runtimes.fake import Listens, Script, Waits
from tests.unit.containers.support import Harness, harness

FAST = Script([Listens(3000)])


class One(Container):
    entrypoint = ("server",)
    default_port = 3000
    max_instances = 1


class Hasty(One):
    instance_get_timeout = "1s"
    port_ready_timeout = timedelta(seconds=2)


class Many(One):
    max_instances = 100


def soon(call: Any) -> asyncio.Future[Any]:
    return asyncio.Task(call)


async def refused(h: Harness, call: asyncio.Future[Any], seconds: float) -> NoInstanceAvailable:
    """The error of a call that waits for a place; it comes when so many seconds have passed, and not before."""
    await h.clock.advance(seconds - 0.1)
    assert not call.done()
    await h.clock.advance(0.2)
    error = call.exception()
    assert isinstance(error, NoInstanceAvailable)
    return error


async def test_a_class_says_how_long_its_callers_wait() -> None:
    async with harness(Hasty, Script()) as h:
        call = soon(h.stub().start_and_wait_for_ports())
        await h.clock.advance(1.9)
        assert not call.done()
        await h.clock.advance(0.2)
        with pytest.raises(PortNotReady, match="2 s after its start"):
            await call
        error = await refused(h, soon(h.stub("b").start()), 1)
        assert error.retry_after == 1


async def test_a_call_says_how_long_it_waits_for_a_place() -> None:
    async with harness(One, FAST) as h:
        await h.run(h.stub("a").start())
        await refused(h, soon(h.stub("b").start_and_wait_for_ports(instance_get_timeout="2s")), 2)
        await refused(h, soon(h.stub("b").start_and_wait_for_ports(instance_get_timeout=30)), 30)


async def test_who_waits_longer_keeps_the_place_in_the_queue_that_others_have_given_up() -> None:
    async with harness(One, FAST) as h:
        await h.run(h.stub("a").start())
        patient = soon(h.stub("b").start_and_wait_for_ports())
        await h.settle()
        hasty = soon(h.stub("b").start_and_wait_for_ports(instance_get_timeout=1))
        await h.settle()
        later = soon(h.stub("c").start_and_wait_for_ports())
        most_patient = soon(h.stub("b").start_and_wait_for_ports(instance_get_timeout=60))
        await refused(h, hasty, 1)
        await refused(h, patient, 6.9)
        await h.clock.advance(1)
        assert later.done()
        await h.clock.advance(40)
        assert not most_patient.done()
        await h.run(h.stub("a").destroy())
        await h.run(most_patient)
        assert isinstance(later.exception(), NoInstanceAvailable)
        assert len(h.machine.started) == 2


async def test_a_call_says_how_long_it_waits_for_ports_and_others_wait_as_long_as_they_would() -> None:
    async with harness(Many, Script([Waits(30), Listens(3000)])) as h:
        hasty = soon(h.stub().start_and_wait_for_ports(port_ready_timeout=5))
        usual = soon(h.stub().start_and_wait_for_ports())
        patient = soon(h.stub().start_and_wait_for_ports(port_ready_timeout="60s"))
        one_port = soon(h.stub().wait_for_port(3000, port_ready_timeout=40))
        await h.clock.advance(5.1)
        with pytest.raises(PortNotReady, match="5 s after its start"):
            await hasty
        await h.clock.advance(14)
        assert not usual.done()
        await h.clock.advance(1)
        with pytest.raises(PortNotReady, match="20 s after its start"):
            await usual
        await h.run(asyncio.gather(patient, one_port))


async def test_a_wait_for_ports_that_is_longer_than_a_probe_goes_on_with_another() -> None:
    async with harness(Many, Script([Waits(30), Listens(3000)])) as h:
        usual = soon(h.stub().start_and_wait_for_ports())
        await h.clock.advance(1)
        patient = soon(h.stub().start_and_wait_for_ports(port_ready_timeout=60))
        await h.clock.advance(20)
        assert isinstance(usual.exception(), PortNotReady)
        await h.run(patient)


@pytest.mark.parametrize("name", ["instance_get_timeout", "port_ready_timeout"])
@pytest.mark.parametrize("value", [0, -1, "soon"])
async def test_a_timeout_that_is_none_is_refused_by_its_name(name: str, value: Any) -> None:
    async with harness(Many, FAST) as h:
        with pytest.raises(ValueError, match=f"{name} = {value!r}"):
            await h.run(h.stub().start_and_wait_for_ports(**{name: value}))


async def test_starts_are_asked_for_some_at_a_time_and_each_has_its_8_seconds_from_its_turn_on() -> None:
    async with harness(Many, Script([Listens(3000)], start_takes=5.0)) as h:
        h.machine.turns = asyncio.Semaphore(2)
        calls = [soon(h.stub(f"name {number}").start_and_wait_for_ports()) for number in range(6)]
        for started in (2, 4, 6):
            await h.settle()
            assert len(h.machine.started) == started
            await h.clock.advance(5.1)
        await h.run(asyncio.gather(*calls))
        assert len(h.machine.running) == 6


async def test_a_start_that_hangs_gives_its_turn_to_the_next() -> None:
    async with harness(Many, Script([Listens(3000)], start_takes=1000.0)) as h:
        h.machine.turns = asyncio.Semaphore(1)
        first, second = soon(h.stub("a").start()), soon(h.stub("b").start())
        await h.clock.advance(8.1)
        assert isinstance(first.exception(), NoInstanceAvailable)
        assert not second.done()
        h.machine.script = FAST
        third = soon(h.stub("c").start())
        await h.clock.advance(8.1)
        assert isinstance(second.exception(), NoInstanceAvailable)
        await h.run(third)
        assert h.controller("a").slots.used == 1


async def test_a_stop_and_a_destroy_while_a_start_waits_for_its_turn_change_nothing_of_it() -> None:
    async with harness(Many, Script([Listens(3000)], start_takes=2.0)) as h:
        h.machine.turns = asyncio.Semaphore(1)
        first, second = soon(h.stub("a").start()), soon(h.stub("b").start())
        await h.settle()
        await h.run(h.stub("b").stop())
        await h.run(h.stub("b").destroy())
        await h.run(asyncio.gather(first, second))
        assert len(h.machine.running) == 2
