"""A platform that died is followed by one that finds every container again."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from typing import Any

import pytest

from moorings.containers.adoption import plan
from moorings.containers.container import Container
from moorings.containers.lifecycle import Status
from moorings.containers.records import ContainerRecord
from moorings.runtimes.base import Exit, ExitReason, Found, OnClose, Running
from moorings.runtimes.fake import Exits, Listens, Script, Waits
from moorings.store import Commit
from tests.unit.containers.support import MemoryRecords, harness

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000
    sleep_after = "60s"
    stop_grace = "100s"
    max_instances = 2

    def on_start(self) -> Any:
        LOG.append("on_start")

    def on_stop(self) -> Any:
        LOG.append("on_stop")

    def on_exit(self, exit_code: int, reason: str) -> Any:
        LOG.append(f"on_exit {exit_code} {reason}")


SCRIPT = Script([Listens(3000)])
STUBBORN = Script([Listens(3000)], on_signal={signal.SIGTERM: ()})


async def test_a_running_container_is_adopted_and_serves_on() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        new = await h.restarted()
        assert (await new.stub().get_state()).status == "healthy"
        await new.run(new.stub().start_and_wait_for_ports())
        assert len(new.machine.started) == 1
        assert LOG == ["on_start"]
        assert new.controller().slots.used == 1
        await new.close()


async def test_its_activity_clock_goes_on() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(40)
        new = await h.restarted()
        await new.clock.advance(15)
        assert (await new.stub().get_state()).status == "healthy"
        await new.clock.advance(10)
        assert (await new.stub().get_state()).status == "stopped"
        assert LOG == ["on_start", "on_stop", "on_exit 143 signal"]
        await new.close()


async def test_activity_is_stored_every_few_seconds() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(30)
        await h.stub().renew_activity_timeout()
        await h.clock.advance(6)
        new = await h.restarted()
        await new.clock.advance(45)
        assert (await new.stub().get_state()).status == "healthy"
        await new.close()


async def test_a_kill_deadline_goes_on() -> None:
    async with harness(Backend, STUBBORN) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.run(h.stub().stop())
        await h.clock.advance(60)
        new = await h.restarted()
        assert (await new.stub().get_state()).status == "stopping"
        await new.clock.advance(39)
        assert len(new.machine.running) == 1
        await new.clock.advance(2)
        assert new.machine.running == []
        assert LOG == ["on_start", "on_stop", "on_exit 137 destroyed"]
        await new.close()


async def test_a_stop_that_was_cut_off_before_its_signal_begins_again() -> None:
    class Slow(Backend):
        async def on_stop(self) -> None:
            LOG.append("on_stop")
            if LOG.count("on_stop") == 1:
                await asyncio.Event().wait()

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        stopping = asyncio.ensure_future(h.stub().stop())
        await h.settle()
        new = await h.restarted()
        await asyncio.gather(stopping, return_exceptions=True)
        await new.settle()
        assert LOG == ["on_start", "on_stop", "on_stop", "on_exit 143 signal"]
        assert new.machine.running == []
        await new.close()


async def test_the_end_of_one_that_died_meanwhile_is_told_once() -> None:
    async with harness(Backend, Script([Listens(3000), Waits(30), Exits(3)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.runtime.close(OnClose.KEEP)
        await h.clock.advance(31)
        new = await h.restarted()
        await new.settle()
        assert LOG == ["on_start", "on_exit 3 exit"]
        state = await new.stub().get_state()
        assert (state.status, state.exit_code) == ("stopped_with_code", 3)
        again = await new.restarted()
        await again.settle()
        assert LOG == ["on_start", "on_exit 3 exit"]
        await again.close()


async def test_one_that_went_away_with_its_supervisor_ended_by_the_platform() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.runtime.close(OnClose.KEEP)
        h.machine.clear()
        new = await h.restarted()
        await new.settle()
        assert LOG == ["on_start", "on_exit 137 platform"]
        await new.run(new.stub().start_and_wait_for_ports())
        await new.close()


async def test_on_exit_runs_again_where_the_platform_died_inside_it() -> None:
    class Dying(Backend):
        async def on_exit(self, exit_code: int, reason: str) -> None:
            LOG.append(f"on_exit {exit_code}")
            if LOG.count(f"on_exit {exit_code}") == 1:
                await asyncio.Event().wait()

    async with harness(Dying, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.machine.end(h.machine.running[0], 7)
        await h.settle()
        new = await h.restarted()
        await new.settle()
        assert LOG == ["on_start", "on_exit 7", "on_exit 7"]
        again = await new.restarted()
        await again.settle()
        assert LOG == ["on_start", "on_exit 7", "on_exit 7"]
        await again.close()


async def test_on_start_runs_again_where_the_platform_died_before_it_was_over() -> None:
    class Slow(Backend):
        async def on_start(self) -> None:
            LOG.append("on_start")
            if len(LOG) == 1:
                await asyncio.Event().wait()

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start())
        await h.settle()
        new = await h.restarted()
        await new.run(new.stub().start_and_wait_for_ports())
        assert LOG == ["on_start", "on_start"]
        assert len(new.machine.started) == 1
        await new.close()


async def test_a_container_whose_intent_was_not_stored_is_removed() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.records.rows.clear()
        new = await h.restarted()
        await new.settle()
        assert new.machine.running == []
        assert LOG == ["on_start"]
        await new.close()


async def test_the_runtime_keeps_an_end_until_it_is_stored() -> None:
    storing = Commit()

    class SlowRecords(MemoryRecords):
        def write(self, record: ContainerRecord) -> Commit | None:
            super().write(record)
            return storing if record.token is None else None

    async with harness(Backend, SCRIPT) as h:
        h.service.records = SlowRecords()
        await h.run(h.stub().start_and_wait_for_ports())
        [token] = h.machine.running
        h.machine.end(token, 7)
        await h.settle()
        assert LOG == ["on_start", "on_exit 7 exit"]
        assert h.machine.find(token) is not None
        storing.resolve()
        await h.settle()
        assert h.machine.find(token) is None


async def test_an_intent_that_came_to_nothing_is_no_end_to_tell() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start())
        await h.settle()
        await h.runtime.close(OnClose.KEEP)
        h.machine.clear()
        for key, record in h.records.rows.items():
            h.records.rows[key] = replace(record, status=Status.STARTING, started=False)
        LOG.clear()
        new = await h.restarted()
        await new.settle()
        assert LOG == []
        state = await new.stub().get_state()
        assert (state.status, state.exit_code) == ("stopped", None)
        assert await new.records.unfinished() == []
        await new.run(new.stub().start_and_wait_for_ports())
        assert LOG == ["on_start"]
        await new.close()


async def test_a_container_whose_class_is_gone_is_removed() -> None:
    class Other(Container):
        entrypoint = ("other",)

    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        new = await h.restarted(Other)
        await new.settle()
        assert new.machine.running == []
        await new.close()


async def test_adopted_containers_take_their_places_even_beyond_the_limit() -> None:
    class One(Backend):
        max_instances = 1

    One.__name__ = "Backend"
    async with harness(Backend, SCRIPT) as h:
        for name in "ab":
            await h.run(h.stub(name).start_and_wait_for_ports())
        new = await h.restarted(One)
        assert new.controller("a").slots.used == 2
        third = asyncio.ensure_future(new.stub("c").start())
        await new.run(new.stub("a").destroy())
        assert not third.done()
        await new.run(new.stub("b").destroy())
        await new.run(third)
        await new.close()


async def test_a_sleeping_containers_last_end_is_known_after_a_restart() -> None:
    async with harness(Backend, Script([Listens(3000), Waits(5), Exits(4)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(6)
        new = await h.restarted()
        state = await new.stub().get_state()
        assert (state.status, state.exit_code) == ("stopped_with_code", 4)
        assert len(new.service.controllers()) == 0
        await new.close()


def record(token: str | None, status: Status = Status.HEALTHY, class_name: str = "Backend") -> ContainerRecord:
    return ContainerRecord(class_name, b"i" * 32, "a", status, 1.0, None, token, 1.0, None, True)


def running(token: str) -> Running:
    return Running(token, "Backend", "id", "a", {}, 1.0, 42)


def test_each_token_has_one_fate() -> None:
    exit = Exit(3, ExitReason.EXIT, 2.0)
    found = Found([running("runs"), running("orphan")], [(running("ended"), exit), (running("nobody's"), exit)])
    records = [record("runs"), record("ended"), record("lost"), record("gone", class_name="Gone")]
    decided = plan(found, records, {"Backend"}, 9.0)
    assert [(one.token, two.token) for one, two in decided.adopt] == [("runs", "runs")]
    assert [(one.token, two) for one, _, two in decided.ended] == [
        ("ended", exit),
        ("lost", Exit(137, ExitReason.PLATFORM, 9.0)),
    ]
    assert [one.token for one in decided.orphans] == ["orphan"]
    assert list(decided.forget) == ["nobody's"]
