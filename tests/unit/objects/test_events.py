"""How events reach an object: one at a time up to an await, in its own tasks, whoever called."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from moorings.clock import ManualClock
from moorings.errors import ObjectReset, WorkerError
from moorings.http import Request, Response
from moorings.objects.durable_object import DurableObject
from moorings.observer import ErrorReported, Recorder
from tests.unit.objects.support import namespace


class Ledger(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.entries: list[str] = []
        self.released = asyncio.Event()

    def note(self, entry: str) -> list[str]:
        self.entries.append(entry)
        return self.entries

    async def note_slowly(self, entry: str) -> None:
        self.entries.append(f"{entry} begins")
        await self.released.wait()
        self.entries.append(f"{entry} ends")

    def release(self) -> None:
        self.released.set()

    async def in_background(self) -> None:
        async def fail() -> None:
            await asyncio.sleep(0)
            raise LookupError("lost")

        self.ctx.wait_until(fail())

    def give_up(self) -> None:
        self.ctx.abort("it was time")

    def explode(self) -> None:
        raise ZeroDivisionError("bang")

    async def fetch(self, request: Request) -> Response:
        self.entries.append(request.url.path)
        return Response(request.url.path)


class Silent(DurableObject):
    async def fetch(self, request: Request) -> Response:
        return "hello"  # type: ignore[return-value]  # the user's mistake


class Broken(DurableObject):
    attempts = 0

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        Broken.attempts += 1
        raise ValueError("no start")

    def work(self) -> None:
        """Never reached."""


async def test_concurrent_first_calls_make_one_object() -> None:
    ledgers = namespace(Ledger)
    await asyncio.gather(*(ledgers.get_by_name("a").note(str(i)) for i in range(100)))
    assert sorted(await ledgers.get_by_name("a").note("last"), key=len)[-1] == "last"
    assert len(ledgers.live()) == 1
    assert len(await ledgers.get_by_name("a").note("again")) == 102


async def test_results_are_copies() -> None:
    ledger = namespace(Ledger).get_by_name("a")
    first = await ledger.note("x")
    first.append("forged")
    assert await ledger.note("y") == ["x", "y"]


async def test_a_cancelled_caller_leaves_the_handler_running() -> None:
    ledger = namespace(Ledger).get_by_name("a")
    caller = asyncio.ensure_future(ledger.note_slowly("work"))
    await ManualClock.settle()
    caller.cancel()
    await ledger.release()
    await ManualClock.settle()
    assert await ledger.note("seen") == ["work begins", "work ends", "seen"]


async def test_the_error_of_a_handler_whose_caller_is_gone_is_reported() -> None:
    recorder = Recorder()

    class Late(DurableObject):
        async def fail_later(self) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise LookupError("nobody listens")

    caller = asyncio.ensure_future(namespace(Late, observer=recorder).get_by_name("a").fail_later())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    await ManualClock.settle()
    assert [str(event.error) for event in recorder.events if isinstance(event, ErrorReported)] == ["nobody listens"]


async def test_errors_arrive_with_their_type_and_message() -> None:
    with pytest.raises(ZeroDivisionError, match="bang"):
        await namespace(Ledger).get_by_name("a").explode()


async def test_a_constructor_that_raises_fails_its_callers_and_is_tried_again() -> None:
    broken = namespace(Broken)
    Broken.attempts = 0
    for _ in range(2):
        with pytest.raises(ValueError, match="no start"):
            await broken.get_by_name("a").work()
    assert Broken.attempts == 2


async def test_abort_drops_the_memory_and_fails_what_is_under_way() -> None:
    ledger = namespace(Ledger).get_by_name("a")
    slow = asyncio.ensure_future(ledger.note_slowly("work"))
    await ManualClock.settle()
    with pytest.raises(ObjectReset, match="it was time"):
        await ledger.give_up()
    with pytest.raises(ObjectReset, match="it was time"):
        await slow
    assert await ledger.note("anew") == ["anew"]


async def test_an_error_in_the_background_is_reported() -> None:
    recorder = Recorder()
    await namespace(Ledger, observer=recorder).get_by_name("a").in_background()
    await ManualClock.settle()
    (event,) = recorder.events
    assert isinstance(event, ErrorReported)
    assert (event.where, str(event.error)) == ("wait_until", "lost")


async def test_fetch_takes_requests_and_urls() -> None:
    ledger = namespace(Ledger).get_by_name("a")
    assert await (await ledger.fetch("/path")).text() == "/path"
    assert await (await ledger.fetch(Request("http://example.com/other"))).text() == "/other"
    assert await (await ledger.fetch("sub", method="POST", json={"a": 1})).text() == "/sub"


async def test_fetch_must_return_a_response() -> None:
    with pytest.raises(WorkerError, match=r"Silent\.fetch returned str"):
        await namespace(Silent).get_by_name("a").fetch("/")


async def test_an_object_with_nothing_going_on_leaves_memory() -> None:
    clock = ManualClock()
    ledgers = namespace(Ledger, clock=clock)
    stub = ledgers.get_by_name("a")
    slow = asyncio.ensure_future(stub.note_slowly("work"))
    await clock.advance(60)
    assert len(ledgers.live()) == 1
    await stub.release()
    await slow
    await clock.advance(25)
    assert ledgers.live() == []
    assert clock.pending == 0
    assert await stub.note("anew") == ["anew"]


async def test_a_stub_kept_across_an_eviction_finds_the_one_live_object() -> None:
    clock = ManualClock()
    ledgers = namespace(Ledger, clock=clock)
    kept = ledgers.get_by_name("a")
    await kept.note("x")
    await clock.advance(30)
    assert await ledgers.get_by_name("a").note("y") == ["y"]
    assert await kept.note("z") == ["y", "z"]


async def test_code_in_a_handler_knows_its_task() -> None:
    class Timed(DurableObject):
        async def work(self) -> str:
            async with asyncio.timeout(5):
                await asyncio.wait_for(asyncio.sleep(0), 5)
            return "in time"

    assert await namespace(Timed).get_by_name("a").work() == "in time"


class Unruly(DurableObject):
    def raise_now(self, error: type[BaseException]) -> None:
        raise error

    async def raise_later(self, error: type[BaseException]) -> None:
        await asyncio.sleep(0)
        raise error

    async def raise_in_block(self, error: type[BaseException]) -> None:
        async def closure() -> None:
            raise error

        await self.ctx.block_concurrency_while(closure)

    async def raise_in_background(self, error: type[BaseException]) -> None:
        self.ctx.wait_until(self.raise_later(error))

    def work(self) -> str:
        return "works"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
@pytest.mark.parametrize("method", ["raise_now", "raise_later", "raise_in_block"])
async def test_what_is_no_error_fails_the_call_and_nothing_else(method: str, error: type[BaseException]) -> None:
    activation = namespace(Unruly).activate(namespace(Unruly).id_from_name("a"))
    call = asyncio.ensure_future(activation.deliver(method, lambda instance: getattr(instance, method)(error)))
    await ManualClock.settle()
    with pytest.raises((WorkerError, RuntimeError), match=r"sys\.exit|raised StopIteration|raised [KG]"):
        call.result()
    assert await activation.deliver("work", lambda instance: instance.work()) == "works"


async def test_sys_exit_in_the_background_is_reported_as_an_error() -> None:
    recorder = Recorder()
    unruly = namespace(Unruly, observer=recorder)
    activation = unruly.activate(unruly.id_from_name("a"))
    await activation.deliver("background", lambda instance: instance.raise_in_background(SystemExit))
    await ManualClock.settle()
    [reported] = [event.error for event in recorder.events if isinstance(event, ErrorReported)]
    assert isinstance(reported, WorkerError)
    assert "called sys.exit()" in str(reported)


async def test_sys_exit_in_a_hook_reaches_whoever_awaits_the_hook() -> None:
    unruly = namespace(Unruly)
    activation = unruly.activate(unruly.id_from_name("a"))
    hook = activation.run_hook("on_start", lambda instance: instance.raise_now(SystemExit))
    with pytest.raises(WorkerError, match=r"on_start of .* called sys\.exit\(\)"):
        await hook


async def test_sys_exit_in_a_constructor_fails_the_call() -> None:
    class Leaving(DurableObject):
        def __init__(self, ctx: Any, env: Any) -> None:
            raise SystemExit(3)

        def work(self) -> None:
            """Never runs."""

    with pytest.raises(WorkerError, match=r"constructor of .* called sys\.exit\(3\)"):
        await namespace(Leaving).get_by_name("a").work()


async def test_a_shutdown_goes_on_without_what_swallows_its_cancellation_and_says_so() -> None:
    released = asyncio.Event()

    class Stubborn(DurableObject):
        async def stay(self) -> None:
            while not released.is_set():
                with suppress(asyncio.CancelledError):
                    await released.wait()

    clock, recorder = ManualClock(), Recorder()
    objects = namespace(Stubborn, clock=clock, observer=recorder)
    calls = [asyncio.ensure_future(objects.get_by_name(name).stay()) for name in ("a", "b")]
    await ManualClock.settle()
    shutdown = asyncio.ensure_future(objects.shutdown())
    await clock.advance(1.9)
    assert not shutdown.done()
    await clock.advance(0.2)
    assert shutdown.done()
    await shutdown
    assert objects.live() == []
    errors = [str(event.error) for event in recorder.events if isinstance(event, ErrorReported)]
    assert len(errors) == 2
    assert all("stay of Stubborn" in error for error in errors)
    released.set()
    await asyncio.gather(*calls)
