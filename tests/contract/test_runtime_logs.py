"""What ``runtimes.base`` promises of ``logs``, held against every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

import pytest

from moorings.runtimes.base import ContainerRuntime, Follow, LogLine, LogSource, StartSpec
from moorings.runtimes.fake import Exits, Prints, Waits
from tests.contract.runtime_labs import Events, Lab
from tests.support.waiting import eventually


def source(spec: StartSpec, token: str | None = None) -> LogSource:
    return LogSource(spec.class_name, spec.object_id, spec.name, token)


async def printed(runtime: ContainerRuntime, asked: LogSource, **options: float | None) -> list[LogLine]:
    """All lines that there are."""
    async with asyncio.timeout(20):
        lines = runtime.logs(asked, tail=cast("int | None", options.get("tail")), since=options.get("since"))
        return [line async for line in lines]


async def ended(lab: Lab, runtime: ContainerRuntime, events: Events, *lines: str) -> StartSpec:
    """A container that has printed some lines and has ended."""
    spec = lab.spec(*map(Prints, lines), Exits(0))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    return spec


async def test_lines_come_in_order_with_their_stream_and_time(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("out"), Waits(0.05), Prints("grün ✓", "stderr"), Waits(0.05), Prints(""), Exits(0))
    running = await runtime.start(spec)
    exit = await events.exit_of(spec.token)
    lines = await printed(runtime, source(spec))
    assert [(line.stream, line.line) for line in lines] == [("stdout", "out"), ("stderr", "grün ✓"), ("stdout", "")]
    times = [line.at for line in lines]
    assert sorted(times) == times
    assert running.started_at - 0.1 <= times[0]
    assert times[-1] <= exit.at + 0.1


async def test_the_logs_of_one_that_ended_and_was_forgotten_can_be_read(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = await ended(lab, runtime, events, "last", "words")
    await runtime.forget(spec.token)
    for asked in (source(spec), source(spec, spec.token)):
        assert [line.line for line in await printed(runtime, asked)] == ["last", "words"]


@pytest.mark.parametrize(("tail", "count"), [(0, 0), (1, 1), (3, 3), (10, 10), (1000, 10)])
async def test_tail_gives_the_last_lines(
    lab: Lab, runtime: ContainerRuntime, events: Events, tail: int, count: int
) -> None:
    spec = await ended(lab, runtime, events, *map(str, range(10)))
    lines = await printed(runtime, source(spec), tail=tail)
    assert [line.line for line in lines] == [str(number) for number in range(10 - count, 10)]


async def test_since_leaves_out_what_is_older(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("early"), Waits(0.1), Prints("late"), Prints("later"), Exits(0))
    await runtime.start(spec)
    await events.exit_of(spec.token)
    every = await printed(runtime, source(spec))
    since = every[1].at
    assert [line.line for line in await printed(runtime, source(spec), since=since)] == ["late", "later"]
    assert [line.line for line in await printed(runtime, source(spec), since=since, tail=1)] == ["later"]
    assert await printed(runtime, source(spec), since=every[-1].at + 1000) == []


async def test_only_the_last_incarnation_of_an_object_is_shown(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    first = await ended(lab, runtime, events, "first")
    await runtime.forget(first.token)
    other = lab.spec(Prints("second"), Exits(0))
    second = replace(other, object_id=first.object_id, name=first.name)
    await runtime.start(second)
    await events.exit_of(second.token)
    assert [line.line for line in await printed(runtime, source(second))] == ["second"]
    assert [line.line for line in await printed(runtime, source(second, second.token))] == ["second"]


async def test_of_an_object_that_never_ran_there_are_none(lab: Lab, runtime: ContainerRuntime) -> None:
    spec = lab.spec()
    assert await printed(runtime, source(spec)) == []
    assert await printed(runtime, source(spec, spec.token)) == []
    async with asyncio.timeout(20):
        assert [line async for line in runtime.logs(source(spec), follow=Follow.FOLLOW)] == []


async def test_following_shows_what_is_printed_until_the_end(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("before"), Waits(0.1), Prints("after"), Waits(0.1), Prints("last", "stderr"), Exits(0))
    await runtime.start(spec)
    await events.line(spec.token, "before")
    async with asyncio.timeout(20):
        lines = [line.line async for line in runtime.logs(source(spec), follow=Follow.FOLLOW)]
    assert lines == ["before", "after", "last"]
    assert len(events.exits(spec.token)) == 1


async def test_following_from_now_on(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("before"), on_signal={10: [Prints("heard")]})
    await runtime.start(spec)
    await events.line(spec.token, "before")
    following = cast(AsyncGenerator[LogLine, None], runtime.logs(source(spec), follow=Follow.FOLLOW, tail=0))
    first = asyncio.ensure_future(anext(following))

    async def shown() -> bool:
        await runtime.signal(spec.token, 10)
        return first.done()

    await eventually(shown, "a line that was printed later is shown")
    assert first.result().line == "heard"
    await following.aclose()
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)


async def test_a_reader_that_stops_following_leaves_nothing(
    lab: Lab, runtime: ContainerRuntime, events: Events
) -> None:
    spec = lab.spec(Prints("there"))
    await runtime.start(spec)
    following = cast(AsyncGenerator[LogLine, None], runtime.logs(source(spec), follow=Follow.FOLLOW))
    assert (await anext(following)).line == "there"
    await following.aclose()
    cancelled = cast(AsyncGenerator[LogLine, None], runtime.logs(source(spec), follow=Follow.FOLLOW, tail=0))
    waiting = asyncio.ensure_future(anext(cancelled))
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)


async def test_several_follow_at_once(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    spec = lab.spec(Prints("before"), on_signal={10: [*(Prints(str(number)) for number in range(20)), Exits(0)]})
    await runtime.start(spec)
    await events.line(spec.token, "before")

    async def follow() -> list[str]:
        return [line.line async for line in runtime.logs(source(spec), follow=Follow.FOLLOW)]

    followers = [asyncio.ensure_future(follow()) for _ in range(5)]
    await asyncio.sleep(0)
    await runtime.signal(spec.token, 10)
    async with asyncio.timeout(20):
        for lines in await asyncio.gather(*followers):
            assert lines == ["before", *map(str, range(20))]
