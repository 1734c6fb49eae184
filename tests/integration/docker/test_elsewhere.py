"""An Engine whose containers are not processes of this machine, as Docker Desktop's: what is killed through them."""

from __future__ import annotations

import asyncio

import pytest

from moorings.runtimes.base import ExecSpec
from moorings.runtimes.docker.runtime import DockerRuntime
from moorings.runtimes.fake import Prints
from tests.contract.runtime_labs import DockerLab, Events
from tests.support.waiting import eventually


@pytest.mark.parametrize("user", [None, "nobody"])
async def test_a_program_that_was_run_inside_is_killed_with_all_that_it_has_started(
    lab: DockerLab, runtime: DockerRuntime, events: Events, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    for module in ("runtime", "executing"):
        monkeypatch.setattr(f"moorings.runtimes.docker.{module}.belongs", lambda pid, container: False)
    spec = lab.spec(Prints("up"))
    await runtime.start(spec)
    await events.line(spec.token, "up")
    before = (await runtime.stats(spec.token)).processes
    process = await runtime.exec(spec.token, ExecSpec(("sh", "-c", "sleep 600 & echo on; sleep 600"), user=user))
    assert await anext(aiter(process.output())) == ("stdout", b"on\n")
    async with asyncio.timeout(20):
        await process.close()
    assert await process.wait() == 137

    async def as_before() -> bool:
        return (await runtime.stats(spec.token)).processes == before

    await eventually(as_before, "nothing of it runs")
    assert events.exits(spec.token) == []
