"""Warm spares: who gets one, that there are as many as wanted, and that each is nobody's or one object's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.lifecycle import Status
from moorings.containers.options import read_options
from moorings.containers.records import ContainerRecord
from moorings.errors import ContainerFailedToStart, NoInstanceAvailable, StoreError
from moorings.runtimes.base import StartSpec
from moorings.runtimes.fake import Exits, Listens, Script, Waits
from moorings.store import Commit
from tests.unit.containers.support import Harness, MemoryRecords, harness
from tests.unit.containers.warm import LOG, SCRIPT, Backend, owners, warmed, warnings


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


async def test_a_class_that_wants_none_has_none() -> None:
    class Plain(Container):
        entrypoint = ("server",)

    async with harness(Plain, SCRIPT) as h:
        await h.clock.advance(60)
        assert h.machine.started == []
        assert h.clock.pending == 0


async def test_as_many_as_wanted_are_started_and_belong_to_nobody() -> None:
    async with harness(Backend, SCRIPT) as h:
        tokens = await warmed(h)
        assert len(tokens) == 2
        assert [(spec.object_id, spec.name, spec.env) for spec in h.machine.started] == [
            ("", None, {"MODE": "fast"})
        ] * 2
        assert owners(h) == {token: ["(spare)"] for token in tokens}
        assert h.namespace.live() == []
        assert LOG == []


async def test_the_first_request_to_a_name_takes_one_and_another_is_started_in_its_place() -> None:
    async with harness(Backend, SCRIPT) as h:
        first, second = await warmed(h)
        began = h.clock.monotonic()
        await h.stub("alice").start_and_wait_for_ports()
        assert h.clock.monotonic() == began
        assert h.moves == ["starting", "running", "healthy"]
        assert LOG == ["on_start alice"]
        assert h.controller("alice").incarnation is not None
        alice = h.controller("alice").subject
        assert h.machine.assigned == [(first, alice.object_id, "alice")]
        assert owners(h) == {first: ["alice"], second: ["(spare)"]}
        tokens = await warmed(h)
        assert len(tokens) == 3
        assert h.controller("alice").slots.used == 3


async def test_concurrent_first_requests_make_one_claim() -> None:
    async with harness(Backend, SCRIPT) as h:
        await warmed(h)
        await asyncio.gather(*(h.stub("alice").start_and_wait_for_ports() for _ in range(100)))
        assert (h.pool.ready, len(h.machine.assigned), LOG) == (1, 1, ["on_start alice"])


async def test_names_that_ask_at_once_get_one_each_and_who_comes_later_starts_its_own() -> None:
    async with harness(Backend, SCRIPT) as h:
        await warmed(h)
        await h.run(asyncio.gather(*(h.stub(name).start_and_wait_for_ports() for name in "abc")))
        claimed = owners(h)
        assert sorted(name for [name] in claimed.values() if name != "(spare)") == ["a", "b", "c"]
        assert sum(bool(spec.object_id) for spec in h.machine.started) == 1


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("env_vars", {"MODE": "slow"}), ("labels", {"tier": "free"}), ("entrypoint", ["server", "--slow"])],
)
async def test_who_would_start_something_else_starts_its_own(attribute: str, value: Any) -> None:
    class Special(Backend):
        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            if ctx.id.name == "special":
                setattr(self, attribute, value)

    async with harness(Special, SCRIPT) as h:
        await warmed(h)
        await h.run(h.stub("special").start_and_wait_for_ports())
        assert h.machine.assigned == []
        assert h.machine.started[-1].name == "special"
        await h.run(h.stub("ordinary").start_and_wait_for_ports())
        assert len(h.machine.assigned) == 1


async def test_one_that_runs_and_is_not_ready_yet_saves_its_taker_the_rest_of_a_start() -> None:
    class One(Backend):
        warm_spares = 1

    async with harness(One, SCRIPT) as h:
        await h.clock.advance(1.5)
        assert (h.pool.ready, len(h.machine.running)) == (0, 1)
        began = h.clock.monotonic()
        await h.run(h.stub("alice").start_and_wait_for_ports())
        assert h.clock.monotonic() - began < 1
        assert (len(h.machine.assigned), LOG) == (1, ["on_start alice"])
        await warmed(h)
        assert owners(h) == {h.machine.running[0]: ["alice"], h.machine.running[1]: ["(spare)"]}


async def test_sleep_after_counts_from_the_claim() -> None:
    async with harness(Backend, SCRIPT) as h:
        await warmed(h)
        await h.clock.advance(600)
        await h.stub("alice").start_and_wait_for_ports()
        await h.clock.advance(59)
        assert (await h.stub("alice").get_state()).status == "healthy"
        await h.clock.advance(2)
        assert (await h.stub("alice").get_state()).status == "stopped"
        assert LOG == ["on_start alice", "on_exit alice 143 signal"]


async def test_nothing_is_handed_over_before_the_claim_is_durable() -> None:
    storing = Commit()

    class SlowRecords(MemoryRecords):
        def claim(self, record: ContainerRecord) -> Commit | None:
            super().claim(record)
            return storing

    async with harness(Backend, SCRIPT) as h:
        h.service.records = SlowRecords()
        await warmed(h)
        request = asyncio.ensure_future(h.stub("alice").start_and_wait_for_ports())
        await h.settle()
        assert (LOG, h.machine.assigned, request.done()) == ([], [], False)
        storing.resolve()
        await request
        assert LOG == ["on_start alice"]


async def test_a_claim_that_cannot_be_stored_fails_and_leaves_nothing() -> None:
    class FullDisk(MemoryRecords):
        def claim(self, record: ContainerRecord) -> Commit | None:
            failed = Commit()
            failed.resolve(StoreError("disk full"))
            return failed

    async with harness(Backend, SCRIPT) as h:
        h.service.records = FullDisk()
        _, second = await warmed(h)
        with pytest.raises(StoreError, match="disk full"):
            await h.run(h.stub("alice").start())
        assert h.machine.running == [second]
        assert (await h.stub("alice").get_state()).status == "stopped"
        assert h.controller("alice").slots.used == 1


async def test_a_caller_that_goes_away_takes_nothing_down() -> None:
    storing = Commit()

    class SlowRecords(MemoryRecords):
        def claim(self, record: ContainerRecord) -> Commit | None:
            super().claim(record)
            return storing

    async with harness(Backend, SCRIPT) as h:
        h.service.records = SlowRecords()
        await warmed(h)
        first = asyncio.ensure_future(h.stub("alice").start())
        second = asyncio.ensure_future(h.stub("alice").start())
        await h.settle()
        first.cancel()
        await h.settle()
        storing.resolve()
        await second
        assert (LOG, len(h.machine.assigned)) == (["on_start alice"], 1)


async def test_a_stop_during_the_claim_ends_it() -> None:
    storing = Commit()

    class SlowRecords(MemoryRecords):
        def claim(self, record: ContainerRecord) -> Commit | None:
            super().claim(record)
            return storing

    async with harness(Backend, SCRIPT) as h:
        h.service.records = SlowRecords()
        first, _ = await warmed(h)
        start = asyncio.ensure_future(h.stub("alice").start())
        await h.settle()
        stop = asyncio.ensure_future(h.stub("alice").stop())
        await h.settle()
        storing.resolve()
        await h.run(stop)
        await asyncio.gather(start, return_exceptions=True)
        await h.settle()
        assert first not in h.machine.running
        assert LOG == ["on_exit alice 143 signal"]


async def test_a_spare_gives_way_to_a_start_that_cannot_use_it() -> None:
    class Special(Backend):
        max_instances = 2

        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            self.env_vars = {"NAME": str(ctx.id.name)}

    async with harness(Special, SCRIPT) as h:
        first, second = await warmed(h)
        await h.run(h.stub("a").start_and_wait_for_ports())
        assert first not in h.machine.running
        assert second in h.machine.running
        await h.run(h.stub("b").start_and_wait_for_ports())
        await h.clock.advance(30)
        assert (len(h.machine.running), h.pool.total) == (2, 0)
        with pytest.raises(NoInstanceAvailable):
            await h.run(h.stub("c").start_and_wait_for_ports())
        await h.run(h.stub("a").destroy())
        assert (await warmed_count(h, 1)) == 1


async def warmed_count(h: Harness, count: int) -> int:
    for _ in range(40):
        await h.clock.advance(0.5)
    return h.pool.ready


async def test_spares_never_take_a_place_that_somebody_waits_for() -> None:
    class Few(Backend):
        max_instances = 3

    async with harness(Few, SCRIPT) as h:
        await warmed(h)
        starts = [asyncio.ensure_future(h.stub(f"name {n}").start_and_wait_for_ports()) for n in range(10)]
        most = 0
        for _ in range(100):
            await h.clock.advance(0.1)
            most = max(most, len(h.machine.running))
        outcomes = await asyncio.gather(*starts, return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 3
        assert sum(isinstance(outcome, NoInstanceAvailable) for outcome in outcomes) == 7
        assert most == 3


async def test_one_that_is_still_starting_gives_way_too() -> None:
    class One(Backend):
        max_instances = 1
        warm_spares = 1
        env_vars = {}

    async with harness(One, Script([Waits(5), Listens(3000)], start_takes=1.0)) as h:
        await h.clock.advance(0.5)
        assert (h.pool.total, h.machine.running) == (1, [])
        await h.run(h.stub("a").start_and_wait_for_ports())
        assert [spec.name for spec in h.machine.started] == [None, "a"]
        assert len(h.machine.running) == 1


async def test_one_that_dies_is_replaced_after_a_pause_that_doubles() -> None:
    class One(Backend):
        warm_spares = 1

    async with harness(One, Script([Listens(3000), Waits(0.5), Exits(3)])) as h:
        await h.clock.advance(120)
        assert 6 <= len(h.machine.started) <= 9
        assert "ended with exit code 3 (exit) before anybody needed it; the next is started in 1 s" in warnings(h)[0]
        assert "the next is started in 4 s" in warnings(h)[2]
        assert len(owners(h)) <= 1


async def test_one_that_never_listens_is_given_up_and_tried_again_later() -> None:
    class One(Backend):
        warm_spares = 1

    async with harness(One, Script([])) as h:
        for _ in range(120):
            await h.clock.advance(1)
        assert 3 <= len(h.machine.started) <= 6
        assert "port 3000 was not ready 20 s after its start" in warnings(h)[0]
        assert len(h.machine.running) <= 1


async def test_a_program_that_cannot_be_started_is_no_hot_loop() -> None:
    async with harness(Backend, Script(fails="there is no program server")) as h:
        await h.clock.advance(300)
        assert len(h.machine.started) <= 20
        assert "there is no program server" in warnings(h)[0]
        assert (h.controller("a").slots.used, owners(h)) == (0, {})
        with pytest.raises(ContainerFailedToStart, match="there is no program server"):
            await h.run(h.stub("a").start())


async def test_no_more_than_two_are_started_at_a_time() -> None:
    class Many(Backend):
        max_instances = 20
        warm_spares = 10

    async with harness(Many, SCRIPT) as h:
        await h.clock.advance(1.5)
        assert len(h.machine.started) == 2
        await h.clock.advance(2)
        assert len(h.machine.started) == 4
        await warmed(h)


async def test_spares_of_a_class_that_is_gone_are_removed() -> None:
    class Other(Container):
        entrypoint = ("other",)

    async with harness(Backend, SCRIPT) as h:
        await warmed(h)
        h.objects.reload(h.application(Other), {})
        await h.settle()
        assert (h.machine.running, owners(h)) == ([], {})


async def test_stopping_containers_starts_no_spares_in_their_place() -> None:
    async with harness(Backend, SCRIPT) as h:
        await warmed(h)
        await h.run(h.stub("a").start_and_wait_for_ports())
        h.objects.hold_spares()
        started = len(h.machine.started)
        await h.run(h.stub("a").destroy())
        await h.clock.advance(60)
        assert len(h.machine.started) == started


async def test_files_that_changed_replace_what_was_started_before() -> None:
    async with harness(Backend, SCRIPT) as h:
        old = await warmed(h)
        h.objects.replace_spares({"Backend": h.clock.time()})
        await warmed(h)
        assert not set(old) & set(h.machine.running)


async def test_the_output_of_a_spare_is_told_as_a_spares() -> None:
    async with harness(Backend, SCRIPT) as h:
        assert h.pool.subject.label == "Backend/(spare)"


async def test_a_paused_container_goes_after_the_spares() -> None:
    class Pauser(Backend):
        max_instances = 2
        warm_spares = 1
        sleep_action = "pause"
        sleep_after = "10s"

        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            self.env_vars = {"NAME": str(ctx.id.name)}

    async with harness(Pauser, SCRIPT) as h:
        await warmed(h)
        await h.run(h.stub("a").start_and_wait_for_ports())
        await h.clock.advance(10.1)
        await warmed(h)
        [frozen] = h.machine.frozen
        await h.run(h.stub("b").start_and_wait_for_ports())
        assert (h.machine.frozen, h.pool.total) == ([frozen], 0)
        await h.run(h.stub("c").start_and_wait_for_ports())
        assert h.machine.frozen == []


def test_warm_spares_is_a_number() -> None:
    cls = type("Wrong", (Container,), {"entrypoint": ["x"], "warm_spares": -1})
    with pytest.raises(Exception, match=r"Wrong\.warm_spares = -1: expected a whole number of at least 0"):
        read_options(cls, Path("/"))


def scripted(scripts: dict[bool, Script]) -> Callable[[StartSpec], Script]:
    """One script for spares, another for what objects start."""
    return lambda spec: scripts[spec.object_id == ""]


async def test_a_spare_that_died_unseen_costs_its_first_request_one_more_start() -> None:
    scripts = {True: Script([Listens(3000)]), False: Script([Listens(3000)])}
    async with harness(Backend, scripted(scripts)) as h:
        first, _ = await warmed(h)
        h.machine.end(first, 137)
        await h.run(h.stub("a").start_and_wait_for_ports())
        assert (await h.stub("a").get_state()).status == Status.HEALTHY
        assert LOG == ["on_start a"]
