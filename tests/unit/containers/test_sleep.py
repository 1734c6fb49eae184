"""Sleeping: when a container counts as idle, who may keep it awake, and that it wakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from moorings.containers.container import Container
from moorings.http import Request, Response
from moorings.runtimes.fake import Listens, Script, Waits
from tests.unit.containers.support import harness


class Sleeper(Container):
    entrypoint = ("server",)
    default_port = 3000
    sleep_after = "10s"


SCRIPT = Script([Listens(3000)])


async def test_an_idle_container_is_stopped_after_sleep_after_and_wakes_with_the_next_request() -> None:
    async with harness(Sleeper, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(9.5)
        assert (await h.stub().get_state()).status == "healthy"
        await h.clock.advance(0.6)
        assert (await h.stub().get_state()).status == "stopped"
        await h.run(h.stub().start_and_wait_for_ports())
        assert len(h.machine.started) == 2


async def test_renewing_the_activity_timeout_starts_the_period_anew() -> None:
    async with harness(Sleeper, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        for _ in range(5):
            await h.clock.advance(9)
            await h.stub().renew_activity_timeout()
        assert (await h.stub().get_state()).status == "healthy"
        await h.clock.advance(10.1)
        assert (await h.stub().get_state()).status == "stopped"


async def test_asking_for_the_state_is_no_activity() -> None:
    async with harness(Sleeper, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        for _ in range(10):
            await h.clock.advance(1.01)
            await h.stub().get_state()
        assert (await h.stub().get_state()).status == "stopped"


async def test_a_request_in_flight_keeps_it_awake_and_the_period_starts_with_its_end() -> None:
    release = asyncio.Event()

    class Slow(Sleeper):
        async def fetch(self, request: Request) -> Response:
            await release.wait()
            return Response("done")

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        request = asyncio.ensure_future(h.stub().fetch("/"))
        await h.clock.advance(60)
        assert (await h.stub().get_state()).status == "healthy"
        release.set()
        assert await (await request).text() == "done"
        await h.clock.advance(9.9)
        assert (await h.stub().get_state()).status == "healthy"
        await h.clock.advance(0.2)
        assert (await h.stub().get_state()).status == "stopped"


async def test_who_waits_for_its_start_keeps_it_awake() -> None:
    async with harness(Sleeper, Script([Waits(15), Listens(3000)])) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(9.5)
        assert h.moves == ["starting", "running", "healthy"]
        await h.clock.advance(1)
        assert (await h.stub().get_state()).status == "stopped"


async def test_a_client_that_goes_away_leaks_no_request() -> None:
    release = asyncio.Event()

    class Slow(Sleeper):
        async def fetch(self, request: Request) -> Response:
            await release.wait()
            return Response("done")

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        request = asyncio.ensure_future(h.stub().fetch("/"))
        await h.settle()
        request.cancel()
        await h.settle()
        assert h.controller().in_flight == 1
        release.set()
        await h.settle()
        assert h.controller().in_flight == 0
        await h.clock.advance(10.1)
        assert (await h.stub().get_state()).status == "stopped"


async def test_on_activity_expired_keeps_it_alive_for_another_period() -> None:
    class Busy(Sleeper):
        asked = 0

        def on_activity_expired(self) -> bool:
            self.asked += 1
            return self.asked < 3

    async with harness(Busy, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(25)
        assert (await h.stub().get_state()).status == "healthy"
        assert h.instance().asked == 2
        await h.clock.advance(6)
        assert (await h.stub().get_state()).status == "stopped"


async def test_something_that_happens_while_the_hook_thinks_keeps_it_awake() -> None:
    class Thoughtful(Sleeper):
        thinking: Any = None

        async def on_activity_expired(self) -> bool:
            self.thinking = asyncio.Event()
            await self.thinking.wait()
            return False

    async with harness(Thoughtful, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(10.1)
        await h.stub().renew_activity_timeout()
        h.instance().thinking.set()
        await h.settle()
        assert (await h.stub().get_state()).status == "healthy"


async def test_a_hook_that_hangs_does_not_keep_it_awake_for_ever() -> None:
    class Hanging(Sleeper):
        async def on_activity_expired(self) -> bool:
            await asyncio.Event().wait()
            return True

    async with harness(Hanging, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(10.1)
        assert (await h.stub().get_state()).status == "healthy"
        await h.clock.advance(30.1)
        assert (await h.stub().get_state()).status == "stopped"
        assert "took over 30 s" in str(h.errors[0])


async def test_a_hook_that_raises_does_not_keep_it_awake() -> None:
    class Broken(Sleeper):
        def on_activity_expired(self) -> bool:
            raise LookupError("oops")

    async with harness(Broken, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(10.1)
        assert (await h.stub().get_state()).status == "stopped"
        assert [str(error) for error in h.errors] == ["oops"]


async def test_a_sleeping_container_leaves_no_timer_and_no_task_and_its_object_leaves_memory() -> None:
    async with harness(Sleeper, SCRIPT) as h:
        tasks = len(asyncio.all_tasks())
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(60)
        assert h.namespace.live() == []
        assert h.clock.pending == 0
        assert len(asyncio.all_tasks()) == tasks
        assert (await h.stub().get_state()).status == "stopped"


async def test_a_body_made_in_python_keeps_it_awake_until_its_end() -> None:
    class Streaming(Sleeper):
        async def fetch(self, request: Request) -> Response:
            return Response(self.chunks())

        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"first"
            yield b"last"

    async with harness(Streaming, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        body = (await h.stub().fetch("/")).body
        assert await anext(body) == b"first"
        await h.clock.advance(60)
        assert (await h.stub().get_state()).status == "healthy"
        assert [chunk async for chunk in body] == [b"last"]
        assert h.controller().in_flight == 0
        await h.clock.advance(10.1)
        assert (await h.stub().get_state()).status == "stopped"
