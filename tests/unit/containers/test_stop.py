"""Ending: on_stop, the signal, the grace, SIGKILL, on_exit; and what comes meanwhile."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.service import Budgets
from moorings.errors import ContainerNotRunning, NoInstanceAvailable, StoreError
from moorings.runtimes.base import ExitReason
from moorings.runtimes.fake import Exits, Listens, Script, Waits
from moorings.server.platform import DEV_STOP_GRACE
from tests.unit.containers.support import Harness, harness


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000
    stop_grace = "60s"

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.log: list[str] = []

    def on_stop(self) -> Any:
        self.log.append("on_stop")

    def on_exit(self, exit_code: int, reason: str) -> Any:
        self.log.append(f"on_exit {exit_code} {reason}")


OBEDIENT = Script([Listens(3000)])
STUBBORN = Script([Listens(3000)], on_signal={signal.SIGTERM: ()})
SLOW_TO_END = Script([Listens(3000)], on_signal={signal.SIGTERM: (Waits(3), Exits(0))})


async def started(h: Harness) -> None:
    await h.run(h.stub().start_and_wait_for_ports())


async def test_stop_runs_on_stop_then_signals_then_on_exit() -> None:
    async with harness(Backend, SLOW_TO_END) as h:
        await started(h)
        await h.run(h.stub().stop())
        assert h.machine.signals == [(h.machine.running[0], signal.SIGTERM)]
        assert (await h.stub().get_state()).status == "stopping"
        assert h.instance().log == ["on_stop"]
        await h.clock.advance(3.1)
        assert h.instance().log == ["on_stop", "on_exit 0 exit"]
        assert h.moves[-2:] == ["stopping", "stopped"]


async def test_stop_is_idempotent() -> None:
    async with harness(Backend, SLOW_TO_END) as h:
        await h.run(h.stub().stop())
        await started(h)
        await h.run(asyncio.wait_for(asyncio.gather(*(h.stub().stop() for _ in range(10))), 5))
        await h.clock.advance(5)
        await h.run(h.stub().stop())
        assert h.instance().log == ["on_stop", "on_exit 0 exit"]
        assert len(h.machine.signals) == 1


async def test_stop_may_be_called_inside_on_stop() -> None:
    class Eager(Backend):
        async def on_stop(self) -> None:
            await self.stop()
            self.log.append("stopped twice")

    async with harness(Eager, OBEDIENT) as h:
        await started(h)
        await h.run(h.stub().stop())
        assert h.instance().log[0] == "stopped twice"


async def test_another_signal_can_be_chosen() -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)
        await h.run(h.stub().stop(signal.SIGINT))
        assert h.machine.signals[0][1] == signal.SIGINT


@pytest.mark.parametrize("name", ["SIGINT", "int", "INT", 2, signal.SIGINT])
async def test_a_signal_is_a_number_or_a_name(name: Any) -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)
        await h.run(h.stub().stop(name))
        assert h.machine.signals[0][1] == signal.SIGINT


@pytest.mark.parametrize("wrong", ["SIGNAL", "", 0, -1, 100, 10**30, None, True, 1.5])
async def test_what_is_no_signal_is_refused_before_anything_happens(wrong: Any) -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)
        with pytest.raises((TypeError, ValueError), match="signal"):
            await h.run(h.stub().stop(wrong))
        assert (await h.stub().get_state()).status == "healthy"


async def test_a_stop_whose_signal_cannot_be_sent_still_has_its_deadline() -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)

        async def broken(token: str, signum: int) -> None:
            raise OSError("no way")

        h.runtime.signal = broken  # type: ignore[method-assign]  # the runtime is in trouble
        await h.run(h.stub().stop())
        await h.clock.advance(61)
        assert h.moves[-1] == "stopped"


async def test_on_stop_has_5_seconds_before_the_signal_follows() -> None:
    class Hanging(Backend):
        async def on_stop(self) -> None:
            self.log.append("on_stop")
            await asyncio.Event().wait()

    async with harness(Hanging, OBEDIENT) as h:
        await started(h)
        stopping = asyncio.ensure_future(h.stub().stop())
        await h.clock.advance(4.9)
        assert h.machine.signals == []
        await h.clock.advance(0.2)
        await stopping
        assert [signum for _, signum in h.machine.signals] == [signal.SIGTERM]


async def test_on_stop_may_still_use_the_container() -> None:
    class Saving(Backend):
        async def on_stop(self) -> None:
            response = await self.container_fetch("/save")
            self.log.append(await response.text())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsaved")

    async with harness(Saving, Script([Listens(3000, serve)])) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.settle()
        assert h.instance().log == ["saved", "on_exit 143 signal"]


async def test_an_on_stop_that_raises_does_not_stop_the_stop() -> None:
    class Broken(Backend):
        def on_stop(self) -> None:
            raise LookupError("oops")

    async with harness(Broken, OBEDIENT) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.settle()
        assert h.moves[-1] == "stopped"
        assert [str(error) for error in h.errors] == ["oops"]


async def test_who_ignores_the_signal_is_killed_after_stop_grace() -> None:
    async with harness(Backend, STUBBORN) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.clock.advance(59)
        assert len(h.machine.running) == 1
        await h.clock.advance(1.1)
        assert h.machine.running == []
        assert h.instance().log == ["on_stop", "on_exit 137 destroyed"]
        assert h.moves[-1] == "stopped"


async def test_a_crash_while_stopping_is_told_from_the_end_that_was_asked_for() -> None:
    script = Script([Listens(3000)], on_signal={signal.SIGTERM: (Exits(3),)})
    async with harness(Backend, script) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.settle()
        state = await h.stub().get_state()
        assert (state.status, state.exit_code) == ("stopped_with_code", 3)


async def test_destroy_kills_at_once_without_on_stop() -> None:
    async with harness(Backend, STUBBORN) as h:
        await started(h)
        await h.run(h.stub().destroy())
        await h.settle()
        assert h.machine.running == []
        assert h.instance().log == ["on_exit 137 destroyed"]
        await h.run(h.stub().destroy())


async def test_destroy_ends_a_stop_that_takes_long() -> None:
    async with harness(Backend, STUBBORN) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.run(h.stub().destroy())
        await h.settle()
        assert h.instance().log == ["on_stop", "on_exit 137 destroyed"]


async def test_requests_that_come_while_stopping_wait_for_the_end_and_start_it_anew() -> None:
    async with harness(Backend, SLOW_TO_END) as h:
        await started(h)
        await h.run(h.stub().stop())
        waiting = [asyncio.ensure_future(h.stub().start_and_wait_for_ports()) for _ in range(20)]
        await h.clock.advance(2)
        assert not any(call.done() for call in waiting)
        await h.run(asyncio.wait_for(asyncio.gather(*waiting), 30))
        assert len(h.machine.started) == 2
        assert h.instance().log == ["on_stop", "on_exit 0 exit"]


async def test_after_8_seconds_of_stopping_they_get_503_with_retry_after() -> None:
    async with harness(Backend, STUBBORN) as h:
        await started(h)
        await h.run(h.stub().stop())
        waiting = asyncio.ensure_future(h.stub().start_and_wait_for_ports())
        await h.clock.advance(8.1)
        with pytest.raises(NoInstanceAvailable, match="still stopping") as caught:
            await waiting
        assert caught.value.retry_after == 8


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (0, ExitReason.EXIT, "stopped"),
        (3, ExitReason.EXIT, "stopped_with_code"),
        (137, ExitReason.OOM, "stopped_with_code"),
        (139, ExitReason.SIGNAL, "stopped_with_code"),
        (137, ExitReason.PLATFORM, "stopped_with_code"),
    ],
)
async def test_on_exit_tells_code_and_reason_once_for_every_way_to_end(
    code: int, reason: ExitReason, status: str
) -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)
        h.machine.end(h.machine.running[0], code, reason)
        await h.settle()
        assert h.instance().log == [f"on_exit {code} {reason}"]
        assert (await h.stub().get_state()).status == status


async def test_the_state_is_recorded_before_the_hook_that_announces_it() -> None:
    seen: list[str] = []

    class Looking(Backend):
        async def on_start(self) -> None:
            seen.append((await self.get_state()).status)

        async def on_stop(self) -> None:
            seen.append((await self.get_state()).status)

        async def on_exit(self, exit_code: int, reason: str) -> None:
            seen.append((await self.get_state()).status)

    async with harness(Looking, OBEDIENT) as h:
        await started(h)
        await h.run(h.stub().stop())
        await h.settle()
        assert seen == ["running", "stopping", "stopped"]


async def test_a_signal_to_a_container_that_does_not_run_is_an_error() -> None:
    async with harness(Backend, OBEDIENT) as h:
        with pytest.raises(ContainerNotRunning):
            await h.controller().signal(signal.SIGHUP)


async def test_the_objects_memory_may_be_reset_while_its_container_runs_on() -> None:
    class Fragile(Backend):
        def fall(self) -> None:
            self.ctx.abort("test")

    async with harness(Fragile, OBEDIENT) as h:
        await started(h)
        before = h.instance()
        with pytest.raises(Exception, match="was aborted: test"):
            await h.stub().fall()
        assert h.instance() is not before
        assert (await h.stub().get_state()).status == "healthy"
        assert len(h.machine.running) == 1


async def test_dev_caps_the_stop_grace_at_10_seconds() -> None:
    async with harness(Backend, STUBBORN) as h:
        h.service.budgets = Budgets(longest_stop_grace=DEV_STOP_GRACE)
        await started(h)
        await h.run(h.stub().stop())
        await h.clock.advance(9.9)
        assert len(h.machine.running) == 1
        await h.clock.advance(0.2)
        assert h.machine.running == []


async def test_a_write_that_was_not_stored_resets_the_memory_and_leaves_the_container() -> None:
    async with harness(Backend, OBEDIENT) as h:
        await started(h)
        before = h.instance()
        h.controller().activation.storage_failed(StoreError("disk full"))
        assert h.instance() is not before
        assert (await h.stub().get_state()).status == "healthy"
        assert len(h.machine.started) == 1
