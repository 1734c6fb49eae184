"""``block_concurrency_while``: one sentence of its contract per test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from moorings.clock import ManualClock
from moorings.errors import DeadlockError, ObjectReset
from moorings.objects.durable_object import DurableObject
from moorings.objects.event import current_event
from moorings.objects.namespace import Namespace
from moorings.observer import Recorder
from tests.unit.objects.support import namespace


class Blocker(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.other = asyncio.Event()

    async def block(self, name: str, error: str = "") -> str:
        async def closure() -> str:
            self.log.append(f"{name} begins")
            await self.gate.wait()
            self.log.append(f"{name} ends")
            if error:
                raise ValueError(error)
            return name

        return await self.ctx.block_concurrency_while(closure)

    async def quick_block(self, name: str) -> None:
        async def closure() -> None:
            self.log.append(f"{name} in")
            await asyncio.sleep(0)
            self.log.append(f"{name} out")

        await self.ctx.block_concurrency_while(closure)

    async def wait_for_other(self) -> None:
        await self.other.wait()
        self.log.append("resumed")

    def note(self, entry: str) -> list[str]:
        self.log.append(entry)
        return self.log

    async def nested(self) -> str:
        async def inner() -> str:
            return "inner"

        async def outer() -> str:
            return await self.ctx.block_concurrency_while(inner)

        return await self.ctx.block_concurrency_while(outer)

    async def call_myself_in_block(self) -> None:
        async def closure() -> None:
            await BLOCKERS["here"].get_by_name("a").note("never")

        await self.ctx.block_concurrency_while(closure)

    async def call_another_that_calls_me_in_block(self) -> None:
        async def closure() -> None:
            await BLOCKERS["here"].get_by_name("b").call_back()

        await self.ctx.block_concurrency_while(closure)

    async def call_back(self) -> None:
        await BLOCKERS["here"].get_by_name("a").note("never")

    async def platform_waits(self, wait: Callable[[], Any]) -> None:
        """Not called through a stub."""


BLOCKERS: dict[str, Namespace] = {}


def open_gate(blockers: Namespace, name: str = "a") -> None:
    """Let the closure end from outside, as an arriving answer would."""
    blockers.activate(blockers.id_from_name(name)).instance.gate.set()


async def test_no_event_is_delivered_while_it_runs_and_the_rest_follow_in_order() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    block = asyncio.ensure_future(stub.block("block"))
    await ManualClock.settle()
    waiting = [asyncio.ensure_future(stub.note(str(i))) for i in range(5)]
    await ManualClock.settle()
    assert blockers.activate(stub.id).instance.log == ["block begins"]
    open_gate(blockers)
    assert await block == "block"
    await asyncio.gather(*waiting)
    assert await stub.note("end") == ["block begins", "block ends", "0", "1", "2", "3", "4", "end"]


async def test_blocks_queue_in_the_order_of_their_calls() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    await asyncio.gather(*(stub.quick_block(str(i)) for i in range(20)))
    expected = [f"{i} {step}" for i in range(20) for step in ("in", "out")]
    assert blockers.activate(stub.id).instance.log == expected


async def test_a_handler_under_way_is_not_resumed_while_it_runs() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    handler = asyncio.ensure_future(stub.wait_for_other())
    await ManualClock.settle()
    block = asyncio.ensure_future(stub.block("block"))
    await ManualClock.settle()
    blockers.activate(stub.id).instance.other.set()
    await ManualClock.settle()
    assert not handler.done()
    open_gate(blockers)
    await asyncio.gather(block, handler)
    assert (await stub.note("end"))[-3:] == ["block ends", "resumed", "end"]


async def test_other_objects_go_on() -> None:
    blockers = namespace(Blocker)
    block = asyncio.ensure_future(blockers.get_by_name("a").block("block"))
    await ManualClock.settle()
    assert await blockers.get_by_name("b").note("free") == ["free"]
    open_gate(blockers)
    await block


async def test_if_it_raises_the_object_is_reset_and_its_waiters_get_the_error() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    block = asyncio.ensure_future(stub.block("block", "broken"))
    await ManualClock.settle()
    waiting = asyncio.ensure_future(stub.note("waits"))
    await ManualClock.settle()
    open_gate(blockers)
    with pytest.raises(ValueError, match="broken"):
        await block
    with pytest.raises(ObjectReset, match="ValueError: broken"):
        await waiting
    assert await stub.note("anew") == ["anew"]


async def test_after_30_seconds_the_object_is_reset() -> None:
    clock = ManualClock()
    stub = namespace(Blocker, clock=clock).get_by_name("a")
    block = asyncio.ensure_future(stub.block("block"))
    waiting = asyncio.ensure_future(stub.note("waits"))
    await clock.advance(29.9)
    assert not waiting.done()
    await clock.advance(0.2)
    for call in (block, waiting):
        with pytest.raises(ObjectReset, match="over 30 seconds"):
            await call
    assert await stub.note("anew") == ["anew"]


async def test_the_platforms_own_waits_are_not_counted() -> None:
    clock = ManualClock()
    blockers = namespace(Blocker, clock=clock)
    stub = blockers.get_by_name("a")
    block = asyncio.ensure_future(stub.block("block"))
    await clock.advance(20)
    running = blockers.activate(stub.id).gate.block
    assert running is not None
    with running.paused():
        await clock.advance(1000)
    await clock.advance(9.9)
    assert not block.done()
    open_gate(blockers)
    assert await block == "block"


async def test_nested_blocks_are_one_and_give_their_value() -> None:
    assert await namespace(Blocker).get_by_name("a").nested() == "inner"


@pytest.mark.parametrize("call", ["call_myself_in_block", "call_another_that_calls_me_in_block"])
async def test_calling_ones_own_stub_inside_is_an_error_not_a_hang(call: str) -> None:
    BLOCKERS["here"] = namespace(Blocker)
    stub = BLOCKERS["here"].get_by_name("a")
    with pytest.raises(DeadlockError, match="inside its own block_concurrency_while"):
        await getattr(stub, call)()


async def test_a_caller_that_is_cancelled_inside_does_not_end_it() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    first = asyncio.ensure_future(stub.block("block"))
    await ManualClock.settle()
    others = [asyncio.ensure_future(stub.note(str(i))) for i in range(3)]
    await ManualClock.settle()
    first.cancel()
    others[0].cancel()
    await ManualClock.settle()
    open_gate(blockers)
    assert (await stub.note("end")) == ["block begins", "block ends", "0", "1", "2", "end"]


async def test_in_a_constructor_it_holds_back_the_first_event() -> None:
    log: list[str] = []

    class Prepared(DurableObject):
        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            ctx.block_concurrency_while(self._prepare)

        async def _prepare(self) -> None:
            await asyncio.sleep(0)
            log.append("prepared")

        def work(self) -> None:
            log.append("works")

    await namespace(Prepared).get_by_name("a").work()
    assert log == ["prepared", "works"]


async def test_in_a_constructor_its_failure_reaches_the_first_caller_and_the_next_tries_anew() -> None:
    attempts: list[int] = []

    class Unlucky(DurableObject):
        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            ctx.block_concurrency_while(self._prepare)

        async def _prepare(self) -> None:
            attempts.append(1)
            if len(attempts) == 1:
                raise OSError("not yet")

        def work(self) -> str:
            return "works"

    stub = namespace(Unlucky).get_by_name("a")
    with pytest.raises(ObjectReset, match="not yet"):
        await stub.work()
    assert await stub.work() == "works"


async def test_outside_of_a_handler_it_is_refused() -> None:
    blockers = namespace(Blocker, observer=Recorder())
    stub = blockers.get_by_name("a")
    await stub.note("x")
    assert current_event.get() is None

    async def closure() -> None:
        """Never runs."""

    with pytest.raises(RuntimeError, match="own handlers"):
        blockers.activate(stub.id).instance.ctx.block_concurrency_while(closure)


async def test_background_work_is_held_as_well_but_not_what_the_block_itself_has_begun() -> None:
    class Busy(Blocker):
        def work(self, name: str) -> None:
            async def background() -> None:
                await self.other.wait()
                self.log.append(name)

            self.ctx.wait_until(background())

        async def block_and_work(self) -> None:
            async def closure() -> None:
                self.work("inside")
                await self.gate.wait()
                self.log.append("block ends")

            await self.ctx.block_concurrency_while(closure)

    blockers = namespace(Busy)
    stub = blockers.get_by_name("a")
    await stub.work("outside")
    block = asyncio.ensure_future(stub.block_and_work())
    await ManualClock.settle()
    instance = blockers.activate(stub.id).instance
    instance.other.set()
    await ManualClock.settle()
    assert instance.log == ["inside"]
    open_gate(blockers)
    await block
    assert await stub.note("end") == ["inside", "block ends", "outside", "end"]


async def test_a_closure_that_does_not_end_when_its_time_is_over_holds_nobody_up() -> None:
    clock = ManualClock()
    ended = asyncio.Event()

    class Stubborn(Blocker):
        async def block_for_ever(self) -> None:
            async def closure() -> None:
                while not ended.is_set():
                    try:
                        await ended.wait()
                    except asyncio.CancelledError:
                        self.log.append("no")

            await self.ctx.block_concurrency_while(closure)

    stub = namespace(Stubborn, clock=clock).get_by_name("a")
    calls = [asyncio.ensure_future(stub.block_for_ever()), asyncio.ensure_future(stub.note("waits"))]
    await clock.advance(30.1)
    for call in calls:
        with pytest.raises(ObjectReset, match="over 30 seconds"):
            await call
    assert await stub.note("anew") == ["anew"]
    ended.set()
    await ManualClock.settle()
    assert await stub.note("still") == ["anew", "still"]


class Cancelling(Blocker):
    async def await_what_is_cancelled(self) -> None:
        async def closure() -> None:
            other = asyncio.ensure_future(asyncio.Event().wait())
            other.cancel()
            await other

        await self.ctx.block_concurrency_while(closure)


async def test_a_closure_that_awaits_a_cancelled_task_fails_as_any_other() -> None:
    stub = namespace(Cancelling).get_by_name("a")
    block = asyncio.ensure_future(stub.await_what_is_cancelled())
    waiting = asyncio.ensure_future(stub.note("waits"))
    await ManualClock.settle()
    for call in (block, waiting):
        with pytest.raises(ObjectReset, match="CancelledError"):
            call.result()
    after = asyncio.ensure_future(stub.note("anew"))
    await ManualClock.settle()
    assert after.result() == ["anew"]


async def test_a_shutdown_cancels_it_without_a_reset() -> None:
    blockers = namespace(Blocker)
    stub = blockers.get_by_name("a")
    block = asyncio.ensure_future(stub.block("block"))
    await ManualClock.settle()
    activation = blockers.activate(stub.id)
    await blockers.shutdown()
    assert activation.generation == 0
    with pytest.raises(ObjectReset, match="went away"):
        await block


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_closure_that_gives_nothing_to_await_is_refused_at_the_call(awaited: bool) -> None:
    class Mistaken(Blocker):
        async def err(self) -> None:
            block: Any = self.ctx.block_concurrency_while
            result = block(lambda: 5)
            if awaited:
                await result

    stub = namespace(Mistaken).get_by_name("a")
    with pytest.raises(TypeError, match="returned int, which cannot be awaited"):
        await stub.err()
    assert await stub.note("anew") == ["anew"]
