"""Starting: once for everybody, watched until the ports accept, and over at once when the program ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.readiness import next_pause
from moorings.errors import (
    ConfigError,
    ContainerFailedToStart,
    ContainerNotRunning,
    NoInstanceAvailable,
    PortNotReady,
)
from moorings.http import Request, Response
from moorings.runtimes.base import ExitReason, StartSpec
from moorings.runtimes.fake import Exits, Listens, Prints, Script, StopsListening, Waits
from tests.unit.containers.support import harness


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000
    max_instances = 2


class Ported(Container):
    entrypoint = ("server",)
    required_ports = (8080, 8081)
    default_port = 9090


class Portless(Container):
    entrypoint = ("job",)


SLOW = Script([Waits(1.0), Listens(3000)])


async def test_any_number_of_callers_share_one_start() -> None:
    async with harness(Backend, SLOW) as h:
        await h.run(asyncio.wait_for(_gather(h.stub().start_and_wait_for_ports() for _ in range(200)), 30))
        assert len(h.machine.started) == 1
        assert h.moves == ["starting", "running", "healthy"]


async def _gather(calls: Any) -> Any:
    return await asyncio.gather(*calls)


async def test_start_returns_when_the_program_exists_though_no_port_accepts() -> None:
    async with harness(Backend, Script()) as h:
        await h.stub().start()
        assert (await h.stub().get_state()).status == "running"


async def test_a_class_without_ports_is_ready_when_its_program_exists() -> None:
    async with harness(Portless, Script()) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        assert (await h.stub().get_state()).status == "healthy"


async def test_ports_default_to_the_required_ones() -> None:
    async with harness(Ported, Script([Listens(8080), Waits(1), Listens(8081)])) as h:
        waiting = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(0.9)
        assert not waiting.done()
        await h.run(waiting)


async def test_ports_that_are_given_are_the_ones_waited_for() -> None:
    async with harness(Ported, Script([Listens(9090)])) as h:
        await h.run(h.stub().start_and_wait_for_ports([9090]))
        await h.run(h.stub().start_and_wait_for_ports(9090))
        await h.run(h.stub().wait_for_port(9090))
        assert (await h.stub().get_state()).status == "running"


async def test_a_port_not_declared_is_an_error_that_says_so() -> None:
    async with harness(Ported, Script()) as h:
        with pytest.raises(ConfigError, match="doesn't declare port 1234"):
            await h.stub().start_and_wait_for_ports([1234])
        assert h.machine.started == []


async def test_a_program_that_dies_at_start_fails_every_caller_with_its_code_and_output() -> None:
    async with harness(Backend, Script([Prints("no such module"), Waits(0.5), Exits(3)])) as h:
        calls = [asyncio.ensure_future(h.stub().start_and_wait_for_ports()) for _ in range(50)]
        await h.run(asyncio.wait(calls))
        for call in calls:
            error = call.exception()
            assert isinstance(error, ContainerFailedToStart)
            assert (error.exit_code, error.output) == (3, ("no such module",))
        assert h.moves == ["starting", "running", "stopped_with_code"]
        assert len(h.machine.started) == 1


async def test_the_exit_ends_the_wait_at_once() -> None:
    async with harness(Backend, Script([Waits(0.3), Exits(1)])) as h:
        call = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(0.31)
        assert call.done()
        assert isinstance(call.exception(), ContainerFailedToStart)


async def test_the_next_request_tries_anew() -> None:
    scripts = iter([Script([Exits(1)]), Script([Listens(3000)])])

    def choose(spec: StartSpec) -> Script:
        return next(scripts)

    async with harness(Backend, choose) as h:
        with pytest.raises(ContainerFailedToStart):
            await h.run(h.stub().start_and_wait_for_ports())
        await h.run(h.stub().start_and_wait_for_ports())
        assert h.moves == ["starting", "running", "stopped_with_code", "starting", "running", "healthy"]


async def test_what_cannot_be_started_at_all_fails_with_the_runtimes_reason() -> None:
    async with harness(Backend, Script(fails="no such program: server")) as h:
        with pytest.raises(ContainerFailedToStart, match="no such program"):
            await h.run(h.stub().start())
        assert h.moves == ["starting", "stopped"]
        assert [str(error) for error in h.errors] == ["no such program: server"]


async def test_a_port_that_never_accepts_is_given_up_after_20_seconds() -> None:
    async with harness(Backend, Script()) as h:
        call = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(19.9)
        assert not call.done()
        await h.clock.advance(0.2)
        with pytest.raises(PortNotReady, match=r"port 3000 was not ready 20 s .* nothing accepts"):
            await call
        assert (await h.stub().get_state()).status == "running"


async def test_a_listener_of_somebody_else_does_not_count() -> None:
    async with harness(Backend, Script([Listens(3000)])) as h:

        async def foreign(token: str, port: int) -> bool:
            return False

        h.runtime.owns_listener = foreign  # type: ignore[method-assign]  # a stranger took the port
        call = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(20.1)
        with pytest.raises(PortNotReady, match="not the container's"):
            await call


async def test_max_instances_makes_the_next_one_wait_for_a_place() -> None:
    async with harness(Backend, Script([Listens(3000)])) as h:
        await h.run(_gather(h.stub(name).start_and_wait_for_ports() for name in "ab"))
        third = asyncio.ensure_future(h.stub("c").start_and_wait_for_ports())
        await h.clock.advance(5)
        assert not third.done()
        await h.run(h.stub("a").destroy())
        await h.run(third)
        assert len(h.machine.running) == 2


async def test_who_waits_8_seconds_for_a_place_gets_503_with_retry_after() -> None:
    async with harness(Backend, Script([Listens(3000)])) as h:
        await h.run(_gather(h.stub(name).start_and_wait_for_ports() for name in "ab"))
        third = asyncio.ensure_future(h.stub("c").start_and_wait_for_ports())
        await h.clock.advance(8.1)
        with pytest.raises(NoInstanceAvailable, match="max_instances") as caught:
            await third
        assert (caught.value.status, caught.value.retry_after) == (503, 8)
        assert h.controller("c").slots.used == 2


async def test_places_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    async with harness(Backend, Script([Listens(3000)])) as h:
        await h.run(_gather(h.stub(name).start() for name in "ab"))
        waiting = []
        for name in "cdef":
            waiting.append(asyncio.ensure_future(h.stub(name).start()))
            await h.settle()
        await h.run(h.stub("a").destroy())
        await h.run(h.stub("b").destroy())
        await h.settle()
        assert [call.done() for call in waiting] == [True, True, False, False]
        await h.clock.advance(10)
        assert all(isinstance(call.exception(), NoInstanceAvailable) for call in waiting[2:])


async def test_a_place_is_given_back_when_the_start_fails() -> None:
    async with harness(Backend, Script(fails="no")) as h:
        for name in "abcde":
            with pytest.raises(ContainerFailedToStart):
                await h.run(h.stub(name).start())
        assert h.controller().slots.used == 0


async def test_a_start_that_hangs_is_given_up_after_8_seconds_and_leaves_nothing() -> None:
    async with harness(Backend, Script(start_takes=1000.0)) as h:
        call = asyncio.ensure_future(h.stub().start())
        await h.clock.advance(8.1)
        with pytest.raises(NoInstanceAvailable, match="did not exist 8 s"):
            await call
        assert h.machine.running == []
        assert h.controller().slots.used == 0


async def test_a_cancelled_caller_does_not_cancel_the_start() -> None:
    async with harness(Backend, SLOW) as h:
        first = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        second = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.settle()
        first.cancel()
        await h.run(second)
        assert len(h.machine.started) == 1


async def test_a_stop_during_the_start_wins() -> None:
    async with harness(Backend, Script(start_takes=1.0)) as h:
        starting = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.settle()
        stopping = asyncio.ensure_future(h.stub().stop())
        await h.clock.advance(1.1)
        await h.run(stopping)
        with pytest.raises(ContainerNotRunning, match="stopped while it was starting"):
            await h.run(starting)
        assert h.moves == ["starting", "stopping", "stopped"]
        assert h.machine.running == []


async def test_on_start_runs_once_per_start_before_the_waiting_requests() -> None:
    order: list[str] = []

    class Hooked(Backend):
        async def on_start(self) -> None:
            order.append("on_start begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append("on_start ends")

    async with harness(Hooked, SLOW) as h:

        async def request() -> None:
            await h.stub().start_and_wait_for_ports()
            order.append("request")

        await h.run(_gather(request() for _ in range(3)))
        assert order == ["on_start begins", "on_start ends", "request", "request", "request"]


async def test_on_start_may_wait_for_its_own_ports() -> None:
    class Hooked(Backend):
        async def on_start(self) -> None:
            await self.start_and_wait_for_ports()

    async with harness(Hooked, SLOW) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        assert h.moves[-1] == "healthy"


async def test_an_on_start_that_raises_fails_the_start_and_ends_the_container() -> None:
    class Hooked(Backend):
        def on_start(self) -> None:
            raise LookupError("no licence")

    async with harness(Hooked, Script([Listens(3000)])) as h:
        with pytest.raises(LookupError, match="no licence"):
            await h.run(h.stub().start_and_wait_for_ports())
        await h.run(h.controller().tasks.settle())
        assert h.machine.running == []
        assert h.moves[-1] == "stopped"
        assert [str(error) for error in h.errors] == ["no licence"]


async def test_a_block_does_not_count_the_platforms_waits() -> None:
    class Safe(Backend):
        initialized = False

        async def prepare(self) -> str:
            async def closure() -> None:
                if not self.initialized:
                    await self.start_and_wait_for_ports()
                    self.initialized = True

            for _ in range(3):
                await self.ctx.block_concurrency_while(closure)
            return "prepared"

    async with harness(Safe, Script([Waits(19.5), Listens(3000)])) as h:
        assert await h.run(h.stub().prepare()) == "prepared"


async def test_environment_and_entrypoint_may_be_set_per_instance() -> None:
    class Custom(Backend):
        env_vars = {"A": "1"}  # as a user would write it

        def __init__(self, ctx: Any, env: Any) -> None:
            super().__init__(ctx, env)
            self.env_vars = {**self.env_vars, "NAME": ctx.id.name}

    async with harness(Custom, Script([Listens(3000)])) as h:
        await h.run(h.stub("alice").start())
        (spec,) = h.machine.started
        assert spec.env == {"A": "1", "NAME": "alice"}
        assert (spec.name, spec.class_name, spec.object_id) == ("alice", "Custom", str(h.stub("alice").id))


async def test_a_crash_is_noticed_by_its_exit_before_any_request() -> None:
    exits: list[tuple[int, str]] = []

    class Hooked(Backend):
        def on_exit(self, exit_code: int, reason: str) -> None:
            exits.append((exit_code, reason))

    async with harness(Hooked, Script([Listens(3000)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.machine.end(h.machine.running[0], 137, ExitReason.SIGNAL)
        await h.settle()
        assert exits == [(137, "signal")]
        state = await h.stub().get_state()
        assert (state.status, state.exit_code) == ("stopped_with_code", 137)
        await h.run(h.stub().start_and_wait_for_ports())
        assert exits == [(137, "signal")]
        assert len(h.machine.running) == 1


async def test_a_port_that_closes_again_is_not_waited_for_twice() -> None:
    async with harness(Backend, Script([Listens(3000), Waits(5), StopsListening(3000)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(6)
        await h.run(h.stub().start_and_wait_for_ports())


async def test_a_healthy_container_is_asked_without_a_wait() -> None:
    async with harness(Backend, SLOW) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        call = h.stub().start_and_wait_for_ports()
        with pytest.raises(StopIteration):
            call.send(None)


async def test_on_start_may_send_requests_to_its_container_in_every_way() -> None:
    seen: list[str] = []
    stubs: list[Any] = []

    class Hooked(Backend):
        async def fetch(self, request: Request) -> Response:
            return await super().fetch(request)

        async def on_start(self) -> None:
            for response in (
                await self.container_fetch("/a"),
                await self.fetch(Request("http://container/b")),
                await stubs[0].fetch("/c"),
            ):
                seen.append(await response.text())

    async with harness(Hooked, Script([Waits(1), Listens(3000, answer)])) as h:
        stubs.append(h.stub())
        assert await (await h.run(h.stub().fetch("/d"))).text() == "/d"
        assert seen == ["/a", "/b", "/c"]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its path."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        path = head.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))


async def test_hooks_run_while_a_block_holds_back_every_event() -> None:
    ran: list[str] = []

    class Hooked(Backend):
        async def on_start(self) -> None:
            await asyncio.sleep(0)
            ran.append("on_start")

        async def on_stop(self) -> None:
            await asyncio.sleep(0)
            ran.append("on_stop")

        async def on_exit(self, exit_code: int, reason: str) -> None:
            await asyncio.sleep(0)
            ran.append("on_exit")

        async def restart(self) -> list[str]:
            async def closure() -> None:
                await self.start_and_wait_for_ports()
                await self.stop()
                await self.start()

            await self.ctx.block_concurrency_while(closure)
            return ran

    async with harness(Hooked, SLOW) as h:
        assert (await h.run(h.stub().restart()))[:3] == ["on_start", "on_stop", "on_exit"]


async def test_a_block_does_not_count_starts_stops_and_ends_either() -> None:
    class Patient(Portless):
        async def start_often(self) -> str:
            async def closure() -> None:
                for _ in range(5):
                    await self.start()
                    await self.destroy()

            await self.ctx.block_concurrency_while(closure)
            return "five times"

    async with harness(Patient, Script(start_takes=7.5)) as h:
        assert await h.run(h.stub().start_often()) == "five times"


class Pinged(Backend):
    ping_endpoint = "/health"


async def test_a_class_with_a_ping_endpoint_is_ready_when_an_http_answer_comes() -> None:
    asked: list[bytes] = []

    async def ill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    async with harness(Pinged, Script([Listens(3000, ill)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        assert asked[-1] == b"GET /health HTTP/1.1\r\n"


async def test_a_program_that_accepts_and_never_answers_its_ping_is_given_up_after_20_seconds() -> None:
    async with harness(Pinged, Script([Listens(3000)])) as h:
        call = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(19.9)
        assert not call.done()
        await h.clock.advance(0.2)
        await h.settle()
        with pytest.raises(PortNotReady, match="no HTTP answer to /health"):
            await call


async def test_a_program_that_ends_while_it_is_pinged_ends_the_wait() -> None:
    async with harness(Pinged, Script([Listens(3000), Waits(1), Exits(4)])) as h:
        with pytest.raises(ContainerFailedToStart, match="exit code 4"):
            await h.run(h.stub().start_and_wait_for_ports(), within=5)


def test_readiness_is_polled_from_1_ms_backing_off_to_50_ms() -> None:
    pauses, waited = [], 0.0
    while waited < 20:
        pauses.append(next_pause(waited))
        waited += pauses[-1]
    assert pauses[0] == 0.001
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.05


async def test_what_asks_for_the_container_waits_for_a_block_like_any_event() -> None:
    released = asyncio.Event()

    class Blocking(Backend):
        async def block(self) -> None:
            await self.ctx.block_concurrency_while(released.wait)

    async with harness(Blocking, SLOW) as h:
        block = asyncio.ensure_future(h.stub().block())
        await h.settle()
        calls = [h.stub().start(), h.stub().start_and_wait_for_ports(), h.stub().fetch("/"), h.stub().get_state()]
        waiting = [asyncio.ensure_future(call) for call in calls]
        await h.clock.advance(5)
        assert h.machine.started == []
        assert not any(call.done() for call in waiting)
        released.set()
        await block
        await h.run(asyncio.wait_for(waiting[1], 30))
        assert len(h.machine.started) == 1
        waiting[2].cancel()
        await h.run(asyncio.wait(waiting))
