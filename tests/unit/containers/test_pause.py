"""``sleep_action = "pause"``: when a container is frozen, who thaws it, and that it ends as any other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.lifecycle import Status
from moorings.http import Request, Response
from moorings.runtimes.base import OnClose
from moorings.runtimes.fake import Exits, Listens, Script
from moorings.store import Commit
from tests.unit.containers.support import Harness, MemoryRecords, harness

LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


class Pauser(Container):
    entrypoint = ("server",)
    default_port = 3000
    sleep_after = "10s"
    sleep_action = "pause"
    max_instances = 2

    def on_start(self) -> Any:
        LOG.append("on_start")

    def on_stop(self) -> Any:
        LOG.append("on_stop")

    def on_exit(self, exit_code: int, reason: str) -> None:
        LOG.append(f"on_exit {exit_code} {reason}")

    def on_error(self, error: BaseException) -> None:
        LOG.append(f"on_error {error}")

    def ask_nothing(self) -> str:
        return "nothing"

    async def signal(self) -> None:
        await self.ctx.container.signal("SIGUSR1")


async def _hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


SCRIPT = Script([Listens(3000, _hello)], on_signal={signal.SIGTERM: [Exits(0)], signal.SIGUSR1: []})


async def paused(h: Harness, name: str = "a") -> str:
    """Start a container and let it fall asleep. Returns its token."""
    await h.run(h.stub(name).start_and_wait_for_ports())
    token = h.machine.running[-1]
    await h.clock.advance(10.1)
    await h.settle()
    assert token in h.machine.frozen
    assert (await h.stub(name).get_state()).status == "paused"
    return token


async def test_an_idle_container_is_frozen_and_nothing_of_it_runs_but_the_question() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        assert h.moves == ["starting", "running", "healthy", "paused"]
        assert LOG == ["on_start"]
        await h.clock.advance(3600)
        assert len(h.machine.frozen) == 1
        assert h.controller().slots.used == 1


async def test_the_next_request_thaws_it_and_a_new_period_begins() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        assert await (await h.run(h.stub().fetch("/"))).text() == "hello"
        await h.clock.advance(10.1)
        await h.settle()
        assert len(h.machine.frozen) == 1
        assert await (await h.run(h.stub().fetch("/"))).text() == "hello"
        assert h.moves[3:] == ["paused", "running", "healthy"]
        assert (len(h.machine.started), LOG) == (1, ["on_start"])
        await h.clock.advance(9.5)
        assert h.machine.frozen == []
        await h.clock.advance(0.6)
        await h.settle()
        assert len(h.machine.frozen) == 1


async def test_a_hundred_requests_share_one_thaw() -> None:
    async with harness(Pauser, SCRIPT) as h:
        token = await paused(h)
        h.machine.pause_takes = 0.5
        answers = await h.run(asyncio.gather(*(h.stub().fetch("/") for _ in range(100))))
        assert [answer.status for answer in answers] == [200] * 100
        for answer in answers:
            await answer.text()
        assert h.machine.pauses == [("pause", token), ("unpause", token)]


@pytest.mark.parametrize("use", ["start", "start_and_wait_for_ports", "signal"])
async def test_what_uses_the_container_thaws_it(use: str) -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        await h.run(getattr(h.stub(), use)())
        assert h.machine.frozen == []
        assert (await h.stub().get_state()).status in ("running", "healthy")


async def test_what_does_not_use_it_leaves_it_frozen() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        assert await h.stub().ask_nothing() == "nothing"
        await h.stub().renew_activity_timeout()
        await h.clock.advance(60)
        assert len(h.machine.frozen) == 1


async def test_a_client_that_goes_away_leaves_the_thaw_to_others() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        h.machine.pause_takes = 0.5
        first = asyncio.ensure_future(h.stub().fetch("/"))
        second = asyncio.ensure_future(h.stub().fetch("/"))
        await h.settle()
        first.cancel()
        assert await (await h.run(second)).text() == "hello"
        assert [what for what, _ in h.machine.pauses] == ["pause", "unpause"]


async def test_stop_thaws_it_first_so_that_it_ends_in_its_own_way() -> None:
    class Asking(Pauser):
        async def on_stop(self) -> None:
            LOG.append(await (await self.container_fetch("/")).text())

    async with harness(Asking, SCRIPT) as h:
        await paused(h)
        await h.run(h.stub().stop())
        await h.settle()
        assert LOG == ["on_start", "hello", "on_exit 0 exit"]
        assert h.moves[3:] == ["paused", "stopping", "stopped"]
        assert h.controller().slots.used == 0


async def test_destroy_kills_it_as_it_is() -> None:
    async with harness(Pauser, SCRIPT) as h:
        token = await paused(h)
        await h.run(h.stub().destroy())
        await h.settle()
        assert LOG == ["on_start", "on_exit 137 destroyed"]
        assert h.machine.pauses == [("pause", token)]


async def test_one_that_is_killed_from_outside_while_it_is_frozen_is_noticed_and_started_anew() -> None:
    async with harness(Pauser, SCRIPT) as h:
        token = await paused(h)
        h.machine.end(token, 137)
        await h.settle()
        assert LOG == ["on_start", "on_exit 137 exit"]
        assert (await h.stub().get_state()).status == "stopped_with_code"
        await h.run(h.stub().start_and_wait_for_ports())
        assert len(h.machine.started) == 2


async def test_a_request_that_comes_before_the_pause_is_stored_finds_it_awake() -> None:
    storing = Commit()

    class SlowRecords(MemoryRecords):
        def write(self, record: Any) -> Commit | None:
            super().write(record)
            return storing if record.status is Status.PAUSED else None

    async with harness(Pauser, SCRIPT) as h:
        h.service.records = SlowRecords()
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(10.1)
        assert (h.moves[-1], h.machine.pauses) == ("paused", [])
        assert (await h.run(h.stub().fetch("/"))).status == 200
        storing.resolve()
        await h.settle()
        assert h.machine.pauses == []
        await h.clock.advance(10.1)
        await h.settle()
        assert len(h.machine.frozen) == 1


async def test_a_request_that_comes_while_it_is_being_frozen_waits_for_that_and_thaws_it() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.machine.pause_takes = 1.0
        await h.clock.advance(10.1)
        assert (len(h.machine.pauses), h.machine.frozen) == (1, [])
        assert (await h.run(h.stub().fetch("/"))).status == 200
        assert [what for what, _ in h.machine.pauses] == ["pause", "unpause"]
        assert h.machine.frozen == []


async def test_a_stop_that_comes_while_it_is_being_frozen_ends_it() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.machine.pause_takes = 1.0
        await h.clock.advance(10.1)
        await h.run(h.stub().stop())
        await h.settle()
        assert LOG == ["on_start", "on_stop", "on_exit 0 exit"]


async def test_a_true_answer_keeps_it_awake() -> None:
    class Busy(Pauser):
        def on_activity_expired(self) -> bool:
            return True

    async with harness(Busy, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        await h.clock.advance(100)
        assert h.machine.pauses == []


async def test_a_request_in_flight_keeps_it_awake() -> None:
    release = asyncio.Event()

    class Slow(Pauser):
        async def fetch(self, request: Request) -> Response:
            await release.wait()
            return Response("done")

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        request = asyncio.ensure_future(h.stub().fetch("/"))
        await h.clock.advance(60)
        assert h.machine.pauses == []
        release.set()
        await request


async def test_it_is_not_frozen_while_on_start_runs() -> None:
    release = asyncio.Event()

    class Slow(Pauser):
        async def on_start(self) -> None:
            await release.wait()

    async with harness(Slow, SCRIPT) as h:
        await h.run(h.stub().start())
        await h.clock.advance(30)
        assert h.machine.pauses == []
        release.set()
        await h.clock.advance(10.1)
        await h.settle()
        assert len(h.machine.frozen) == 1


async def test_one_that_cannot_be_frozen_is_stopped_and_the_reason_told() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        h.machine.pause_fails = "no freezer here"
        await h.clock.advance(10.1)
        await h.settle()
        assert (await h.stub().get_state()).status == "stopped"
        assert LOG == ["on_start", "on_error no freezer here", "on_stop", "on_exit 0 exit"]


async def test_one_that_cannot_be_thawed_tells_the_caller_and_the_next_one_tries_again() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        h.machine.pause_fails = "the engine is away"
        with pytest.raises(Exception, match="the engine is away"):
            await h.run(h.stub().fetch("/"))
        assert (await h.stub().get_state()).status == "paused"
        h.machine.pause_fails = None
        assert (await h.run(h.stub().fetch("/"))).status == 200


async def test_who_waits_for_a_place_is_given_that_of_the_one_paused_longest() -> None:
    async with harness(Pauser, SCRIPT) as h:
        first = await paused(h, "a")
        second = await paused(h, "b")
        assert h.machine.frozen == [first, second]
        await h.run(h.stub("c").start_and_wait_for_ports())
        assert h.machine.frozen == [second]
        assert LOG == ["on_start", "on_start", "on_stop", "on_exit 0 exit", "on_start"]
        assert h.controller("c").slots.used == 2


async def test_as_many_give_way_as_are_waited_for_and_no_more() -> None:
    class Many(Pauser):
        max_instances = 6

    async with harness(Many, SCRIPT) as h:
        for name in "abcdef":
            await h.run(h.stub(name).start_and_wait_for_ports())
        await h.clock.advance(10.1)
        await h.settle()
        assert len(h.machine.frozen) == 6
        await h.run(asyncio.gather(*(h.stub(name).start_and_wait_for_ports() for name in "xyz")))
        await h.settle()
        assert (len(h.machine.running), len(h.machine.frozen)) == (6, 3)


async def test_paused_containers_are_adopted_paused_and_thawed_by_the_next_request() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        new = await h.restarted()
        assert (await new.stub().get_state()).status == "paused"
        await new.clock.advance(60)
        assert len(new.machine.frozen) == 1
        assert (await new.run(new.stub().fetch("/"))).status == 200
        assert (len(new.machine.started), LOG) == (1, ["on_start"])
        await new.close()


async def test_one_that_the_store_thinks_awake_but_is_frozen_is_adopted_paused() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        for key, record in h.records.rows.items():
            h.records.rows[key] = replace(record, status=Status.HEALTHY)
        new = await h.restarted()
        assert (await new.stub().get_state()).status == "paused"
        assert [record.status for record in new.records.rows.values()] == [Status.PAUSED]
        assert (await new.run(new.stub().fetch("/"))).status == 200
        await new.close()


async def test_one_that_the_store_thinks_paused_but_runs_is_adopted_running_and_sleeps_again() -> None:
    async with harness(Pauser, SCRIPT) as h:
        token = await paused(h)
        await h.runtime.unpause(token)
        new = await h.restarted()
        assert (await new.stub().get_state()).status == "running"
        await new.clock.advance(10.1)
        await new.settle()
        assert len(new.machine.frozen) == 1
        await new.close()


async def test_a_stop_that_was_cut_off_before_the_thaw_is_carried_out() -> None:
    async with harness(Pauser, SCRIPT) as h:
        await paused(h)
        for key, record in h.records.rows.items():
            h.records.rows[key] = replace(record, status=Status.STOPPING)
        new = await h.restarted()
        await new.settle()
        assert LOG == ["on_start", "on_stop", "on_exit 0 exit"]
        assert new.machine.running == []
        await new.close()


async def test_one_that_was_killed_while_the_platform_was_away_has_its_end_told() -> None:
    async with harness(Pauser, SCRIPT) as h:
        token = await paused(h)
        await h.runtime.close(OnClose.KEEP)
        h.machine.end(token, 9)
        new = await h.restarted()
        await new.settle()
        assert LOG == ["on_start", "on_exit 9 exit"]
        await new.close()
