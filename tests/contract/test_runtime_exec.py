"""What ``runtimes.base`` promises of ``exec`` and ``stats``, held against every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from moorings.errors import ContainerFailedToStart, ContainerNotRunning
from moorings.runtimes.base import ContainerRuntime, ExecProcess, ExecSpec, StartSpec, Terminal
from moorings.runtimes.fake import Echoes, Exits, Prints, PrintsVariable
from tests.contract.runtime_labs import Events, Lab


@pytest.fixture
async def container(lab: Lab, runtime: ContainerRuntime, events: Events) -> StartSpec:
    """A container that is up and does nothing."""
    spec = replace(lab.spec(Prints("up")), env={"FROM_START": "start", "BOTH": "start"})
    await runtime.start(spec)
    await events.line(spec.token, "up")
    return spec


@asynccontextmanager
async def executing(runtime: ContainerRuntime, container: StartSpec, spec: ExecSpec) -> AsyncIterator[ExecProcess]:
    process = await runtime.exec(container.token, spec)
    try:
        async with asyncio.timeout(20):
            yield process
    finally:
        await process.close()


async def read(process: ExecProcess) -> dict[str, bytes]:
    """All of both streams."""
    streams = {"stdout": b"", "stderr": b""}
    async for stream, data in process.output():
        streams[stream] += data
    return streams


async def test_a_program_has_both_streams_and_an_exit_code(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    program = lab.program(Prints("out"), Prints("err", "stderr"), Prints("grün"), Exits(7))
    async with executing(runtime, container, program) as process:
        assert await read(process) == {"stdout": "out\ngrün\n".encode(), "stderr": b"err\n"}
        assert await process.wait() == 7


async def test_a_program_reads_what_is_written_until_its_end(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    async with executing(runtime, container, lab.program(Echoes(), Exits(0))) as process:
        await process.write(b"one\n")
        await process.write(b"two\n")
        await process.write_eof()
        await process.write_eof()
        assert (await read(process))["stdout"] == b"one\ntwo\n"
        assert await process.wait() == 0


async def test_much_goes_both_ways_at_once(lab: Lab, runtime: ContainerRuntime, container: StartSpec) -> None:
    sent = bytes(range(256)) * 8192
    async with executing(runtime, container, lab.program(Echoes(), Exits(0))) as process:
        reading = asyncio.ensure_future(read(process))
        await process.write(sent)
        await process.write_eof()
        assert (await reading)["stdout"] == sent


async def test_its_environment_is_that_of_the_container_and_its_own(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    program = lab.program(*map(PrintsVariable, ("FROM_START", "BOTH", "OWN")), Exits(0))
    async with executing(runtime, container, replace(program, env={"BOTH": "exec", "OWN": "exec"})) as process:
        assert (await read(process))["stdout"].split() == [b"start", b"exec", b"exec"]


async def test_a_program_that_does_not_exist_fails_with_its_name(
    runtime: ContainerRuntime, container: StartSpec
) -> None:
    with pytest.raises(ContainerFailedToStart, match="no-such-program"):
        await runtime.exec(container.token, ExecSpec(("no-such-program",)))


async def test_nothing_runs_in_a_container_that_does_not(lab: Lab, runtime: ContainerRuntime, events: Events) -> None:
    ended = lab.spec(Exits(0))
    await runtime.start(ended)
    await events.exit_of(ended.token)
    for token in (ended.token, "never"):
        with pytest.raises(ContainerNotRunning):
            await runtime.exec(token, lab.program(Exits(0)))
        with pytest.raises(ContainerNotRunning):
            await runtime.stats(token)


async def test_a_program_ends_with_its_container(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec, events: Events
) -> None:
    async with executing(runtime, container, lab.program(Prints("running"))) as process:
        output = aiter(process.output())
        assert await anext(output) == ("stdout", b"running\n")
        await runtime.kill(container.token)
        assert await process.wait() == 137
        assert [piece async for piece in output] == []
    await events.exit_of(container.token)


async def test_a_program_is_killed_when_it_is_closed(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec, events: Events
) -> None:
    process = await runtime.exec(container.token, lab.program(Prints("running")))
    assert await anext(aiter(process.output())) == ("stdout", b"running\n")
    before = (await runtime.stats(container.token)).processes
    await process.close()
    await process.close()
    assert await process.wait() == 137
    assert (await runtime.stats(container.token)).processes == before - 1
    assert events.exits(container.token) == []


async def test_a_program_that_has_ended_takes_no_input(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    async with executing(runtime, container, lab.program(Exits(0))) as process:
        await process.wait()
        await process.write(b"too late" * 100_000)
        await process.write_eof()
        assert await read(process) == {"stdout": b"", "stderr": b""}


async def test_many_programs_run_in_one_container_at_once(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    async def run(number: int) -> tuple[bytes, int]:
        async with executing(runtime, container, lab.program(Prints(str(number)), Exits(number))) as process:
            return (await read(process))["stdout"], await process.wait()

    done = await asyncio.gather(*(run(number) for number in range(10)))
    assert done == [(b"%d\n" % number, number) for number in range(10)]


async def test_what_is_printed_in_a_program_is_no_output_of_the_container(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec, events: Events
) -> None:
    async with executing(runtime, container, lab.program(Prints("inside"), Exits(0))) as process:
        await read(process)
    await runtime.kill(container.token)
    await events.exit_of(container.token)
    assert events.lines(container.token) == ["up"]


async def test_a_program_on_a_terminal_can_be_resized(
    lab: Lab, runtime: ContainerRuntime, container: StartSpec
) -> None:
    spec = replace(lab.program(Prints("up", "stderr"), Exits(3)), terminal=Terminal(30, 100))
    async with executing(runtime, container, spec) as process:
        await process.resize(Terminal(10, 20))
        streams = await read(process)
        assert b"up" in streams["stdout"] + streams["stderr"]
        assert await process.wait() == 3


async def test_stats_tell_what_a_container_uses(runtime: ContainerRuntime, container: StartSpec) -> None:
    stats = await runtime.stats(container.token)
    assert stats.cpu_seconds >= 0
    assert stats.memory_bytes > 0
    assert stats.processes >= 1
