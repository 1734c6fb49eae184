"""``exec``, ``exec_stream``, ``logs`` and ``stats`` of a Container, on ``self`` and through the stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from moorings.containers import executing
from moorings.containers.container import Container
from moorings.containers.executing import ExecEvent, ExecResult
from moorings.errors import (
    ContainerFailedToStart,
    ContainerNotRunning,
    ExecOutputTooLarge,
    ExecTimeout,
    MooringsError,
    NoInstanceAvailable,
)
from moorings.runtimes.base import ExecSpec, StartSpec, Stats, Terminal
from moorings.runtimes.fake import Echoes, Exits, Prints, Script, Waits
from tests.unit.containers.support import Harness, harness


class Box(Container):
    entrypoint = ("server",)
    sleep_after = 10

    async def through(self, cmd: Any) -> ExecResult:
        """An RPC method of the user's own that hands the result on."""
        return await self.exec(cmd)

    async def last_lines(self) -> list[Any]:
        return [line async for line in self.logs(tail=2)]

    async def use(self) -> Stats:
        return await self.stats()

    async def streamed(self) -> Any:
        return self.exec_stream("stream")


@asynccontextmanager
async def running(*steps: Any, script: Script | None = None) -> AsyncIterator[Harness]:
    """A Box whose exec'd programs follow ``steps``."""
    async with harness(Box, script or Script()) as h:
        h.machine.execs = lambda start, spec: steps
        yield h


async def test_exec_starts_the_container_and_gives_the_exit_code_and_both_streams() -> None:
    async with running(Prints("out"), Prints("err", "stderr"), Exits(3)) as h:
        result = await h.run(h.stub().exec(["program"]))
        assert result == ExecResult(3, b"out\n", b"err\n")
        assert not result.ok
        assert result.text == "out\n"
        assert h.controller().status == "running"


async def test_what_is_to_be_run_reaches_the_runtime_as_it_was_asked_for() -> None:
    asked: list[ExecSpec] = []

    def steps(start: StartSpec, spec: ExecSpec) -> Sequence[Exits]:
        asked.append(spec)
        return [Exits(0)]

    async with running() as h:
        h.machine.execs = steps
        await h.run(h.stub().exec("echo $HOME | wc"))
        await h.run(h.stub().exec(["ls", "-l"], env={"A": "1"}, cwd="/tmp", user="nobody:nogroup", tty=True))
        await h.run(h.stub().exec(("sh",), tty=Terminal(10, 20)))
    assert asked == [
        ExecSpec(("sh", "-c", "echo $HOME | wc")),
        ExecSpec(("ls", "-l"), {"A": "1"}, "/tmp", "nobody:nogroup", Terminal(24, 80)),
        ExecSpec(("sh",), terminal=Terminal(10, 20)),
    ]


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"cmd": []}, "empty"),
        ({"cmd": ""}, "empty"),
        ({"cmd": ["ls", 1]}, "1"),
        ({"cmd": 7}, "7"),
        ({"cmd": ["a\0b"]}, "NUL"),
        ({"cmd": "ls", "env": {"A": 1}}, "env"),
        ({"cmd": "ls", "env": ["A=1"]}, "env"),
        ({"cmd": "ls", "env": {"A=B": "1"}}, "A=B"),
        ({"cmd": "ls", "cwd": ""}, "cwd"),
        ({"cmd": "ls", "user": 7}, "user"),
        ({"cmd": "ls", "timeout": "soon"}, "soon"),
        ({"cmd": "ls", "stdin": 7}, "stdin"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_anything_starts(
    arguments: dict[str, Any], mistake: str
) -> None:
    async with running() as h:
        with pytest.raises((TypeError, ValueError), match=mistake):
            await h.run(h.stub().exec(**arguments))
        assert h.machine.started == []


@pytest.mark.parametrize("stdin", ["grün", "grün".encode()])
async def test_stdin_is_written_to_its_end(stdin: Any) -> None:
    async with running(Echoes(), Exits(0)) as h:
        assert (await h.run(h.stub().exec(["cat"], stdin=stdin))).text == "grün"


async def test_stdin_may_be_a_stream_in_which_a_terminal_resizes() -> None:
    async def stdin() -> AsyncIterator[bytes | Terminal]:
        yield b"one "
        yield Terminal(5, 6)
        yield b"two"

    async with running(Echoes(), Exits(0)) as h:
        assert (await h.run(h.stub().exec(["cat"], stdin=stdin(), tty=True))).text == "one two"


async def test_a_stdin_that_fails_ends_the_program_and_tells_its_error() -> None:
    async def stdin() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("no more")

    async with running(Echoes(), Exits(0)) as h:
        with pytest.raises(LookupError, match="no more"):
            await h.run(h.stub().exec(["cat"], stdin=stdin()))
        assert h.machine.guests == []
        assert h.errors == []


async def test_a_program_that_can_not_be_started_has_exit_code_127_and_says_why() -> None:
    def missing(start: StartSpec, spec: ExecSpec) -> Sequence[Exits]:
        raise ContainerFailedToStart("there is no program nope")

    async with running() as h:
        h.machine.execs = missing
        result = await h.run(h.stub().exec(["nope"]))
        assert result == ExecResult(127, b"", b"there is no program nope\n")


async def test_a_program_that_takes_too_long_is_killed_and_what_it_printed_is_kept() -> None:
    async with running(Prints("so far"), Waits(60), Exits(0)) as h:
        with pytest.raises(ExecTimeout, match="over 5 s") as caught:
            await h.run(h.stub().exec(["slow"], timeout="5s"))
        assert caught.value.stdout == b"so far\n"
        assert isinstance(caught.value, TimeoutError)
        assert h.machine.guests == []


async def test_output_that_is_too_large_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "LARGEST_OUTPUT", 100)
    async with running(*(Prints("0123456789") for _ in range(20)), Waits(60)) as h:
        with pytest.raises(ExecOutputTooLarge, match="exec_stream"):
            await h.run(h.stub().exec(["yes"]))
        assert h.machine.guests == []


async def test_a_caller_that_goes_away_takes_the_program_with_it() -> None:
    async with running(Prints("up"), Waits(60)) as h:
        calling = asyncio.ensure_future(h.stub().exec(["slow"]))
        await h.run(h.controller().start())
        await h.settle()
        assert len(h.machine.guests) == 1
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert h.machine.guests == []
        assert h.controller().in_flight == 0


async def test_a_container_stays_awake_while_a_program_runs_in_it() -> None:
    async with running(Waits(60), Exits(0)) as h:
        assert (await h.run(h.stub().exec(["slow"]), within=100)).ok
        assert "stopping" not in h.moves
        await h.clock.advance(11)
        await h.settle()
        assert "stopping" in h.moves


async def test_a_program_whose_container_ends_has_the_exit_code_of_a_kill() -> None:
    async with running(Prints("up"), Waits(60)) as h:
        calling = asyncio.ensure_future(h.stub().exec(["slow"]))
        await h.run(h.controller().start())
        await h.settle()
        h.machine.end(h.machine.running[0], 1)
        assert await h.run(calling) == ExecResult(137, b"up\n", b"")


async def test_events_come_as_they_happen_and_the_last_has_the_exit_code() -> None:
    async with running(Prints("one"), Waits(5), Prints("two", "stderr"), Exits(4)) as h:
        events = h.stub().exec_stream(["program"])
        assert await h.run(anext(events)) == ExecEvent("stdout", b"one\n")
        assert await h.run(anext(events)) == ExecEvent("stderr", b"two\n")
        assert await h.run(anext(events)) == ExecEvent("exit", exit_code=4)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_stream_may_be_awaited_and_is_the_same_then() -> None:
    async with running(Exits(0)) as h:
        stream = await h.stub().exec_stream(["program"])
        assert [event async for event in await stream] == [ExecEvent("exit", exit_code=0)]


async def test_closing_a_stream_kills_the_program() -> None:
    async with running(Prints("up"), Waits(60)) as h:
        async with h.stub().exec_stream(["program"]) as events:
            await h.run(anext(events))
            assert len(h.machine.guests) == 1
        assert h.machine.guests == []
        assert h.controller().in_flight == 0


async def test_results_pass_through_a_method_of_the_users_own() -> None:
    async with running(Prints("out"), Exits(0), script=Script([Prints("a"), Prints("b"), Prints("c")])) as h:
        assert await h.run(h.stub().through("ls")) == ExecResult(0, b"out\n", b"")
        assert [line.line for line in await h.run(h.stub().last_lines())] == ["b", "c"]
        assert (await h.run(h.stub().use())).processes == 1
        stream = await h.run(h.stub().streamed())
        events = [await h.run(anext(stream)), await h.run(anext(stream))]
        assert events == [ExecEvent("stdout", b"out\n"), ExecEvent("exit", exit_code=0)]
        await stream.aclose()


async def test_exec_fails_as_a_start_does() -> None:
    async with running(script=Script(fails="no such image")) as h:
        with pytest.raises(ContainerFailedToStart, match="no such image"):
            await h.run(h.stub().exec(["ls"]))
        assert h.controller().in_flight == 0
    async with running(script=Script(start_takes=60)) as h:
        with pytest.raises(NoInstanceAvailable):
            await h.run(h.stub().exec(["ls"]))


async def test_logs_are_those_of_the_last_start_also_after_the_end() -> None:
    async with running(script=Script([Prints("first"), Prints("second", "stderr")])) as h:
        assert await h.run(all_of(h.stub().logs())) == []
        await h.run(h.stub().start())
        await h.settle()
        lines = await h.run(all_of(h.stub().logs()))
        assert [(line.stream, line.line) for line in lines] == [("stdout", "first"), ("stderr", "second")]
        await h.run(h.stub().destroy())
        assert await h.run(all_of(h.stub().logs())) == lines


async def all_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def test_since_may_be_a_moment_or_how_long_ago() -> None:
    async with running(script=Script([Prints("early"), Waits(6), Prints("late")])) as h:
        await h.run(h.stub().start())
        await h.settle()
        started = h.clock.time()
        await h.clock.advance(7)
        for since in (started + 3, datetime.fromtimestamp(started + 3), timedelta(seconds=2), "2s"):
            assert [line.line for line in await all_of(h.stub().logs(since=since))] == ["late"]
        assert await all_of(h.stub().logs(since=0.5 + h.clock.time())) == []
        assert await all_of(h.stub().logs(since="2m", tail=0)) == []
        for mistake in ({"since": "soon"}, {"since": True}, {"tail": -1}, {"tail": True}):
            with pytest.raises((TypeError, ValueError)):
                h.stub().logs(**mistake)


async def test_following_logs_ends_with_the_container_and_keeps_it_from_nothing() -> None:
    async with running(script=Script([Prints("up"), Waits(5), Prints("late")])) as h:
        await h.run(h.stub().start())
        assert [line.line for line in await h.run(all_of(h.stub().logs(follow=True)))] == ["up", "late"]
        assert h.controller().status == "stopped"


async def test_stats_need_a_container_that_runs() -> None:
    async with running() as h:
        with pytest.raises(ContainerNotRunning):
            await h.run(h.stub().stats())
        await h.run(h.stub().start())
        assert (await h.run(h.stub().stats())).memory_bytes > 0


async def test_errors_of_exec_are_errors_of_the_platform() -> None:
    assert issubclass(ExecTimeout, MooringsError)
    assert (ExecTimeout.code, ExecOutputTooLarge.code) == ("exec_timeout", "exec_output_too_large")
