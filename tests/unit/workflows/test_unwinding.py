"""What code asks of the platform while it is being unwound: it raises, and nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from moorings import DurableObject, Request, Response, fetch
from moorings.clock import SystemClock
from moorings.http import HttpClient
from moorings.objects.fetching import use_client
from moorings.observer import Notice
from moorings.workflows import run
from moorings.workflows.entrypoint import WorkflowEntrypoint
from tests.support.waiting import eventually
from tests.unit.objects.stored import held
from tests.unit.queues.support import bench, consuming
from tests.unit.workflows.lab import Lab

Call = Callable[[], Awaitable[Any]]


class Platform:
    """Objects with storage, a queue and a server outside. ``happened`` has what reached any of them."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.calls: dict[str, Call] = {}


@pytest_asyncio.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    there = Platform()

    class Note(DurableObject):
        async def keep(self) -> None:
            there.happened.append("keep")
            self.ctx.storage.put("kept", 1)

        async def all(self) -> AsyncIterator[int]:
            there.happened.append("all")
            yield 1

        async def fetch(self, request: Request) -> Response:
            there.happened.append("object's fetch")
            return Response("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there.happened.append("connection from fetch")
        writer.close()

    async def read(stub: Any) -> None:
        async for _ in await stub.all():
            pass

    for folder in ("objects", "queues"):
        (tmp_path / folder).mkdir()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = HttpClient(clock=SystemClock())
    use_client(client)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with held(tmp_path / "objects") as objects, bench(tmp_path / "queues", consuming()) as queues:
        stub = objects.namespace(Note).get_by_name("a")
        there.calls = {
            "method and storage": lambda: stub.keep(),
            "stream": lambda: read(stub),
            "object's fetch": lambda: stub.fetch("/"),
            "moorings.fetch": lambda: fetch(url),
            "queue.send": lambda: queues.jobs.send(1),
            "queue.send_batch": lambda: queues.jobs.send_batch([{"body": 1}]),
        }
        try:
            yield there
            await queues.quiet()
            assert not queues.batches
            assert await queues.left() == 0
        finally:
            await client.close()
            server.close()
            await server.wait_closed()


async def refusals(platform: Platform) -> list[str]:
    """Which calls were refused, of all."""
    refused = []
    for what, call in platform.calls.items():
        try:
            await call()
        except asyncio.CancelledError:
            refused.append(what)
    return refused


@pytest.mark.parametrize("branches", [1, 2])
async def test_platform_calls_of_a_finally_block_raise_and_do_nothing_while_parking(
    lab: Lab, platform: Platform, branches: int
) -> None:
    refused: list[list[str]] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def branch(number: int) -> None:
                try:
                    await step.sleep(f"nap {number}", "1 hour")
                finally:
                    if lab.clock.time() < 1_000_000_000.0 + 3600:
                        refused.append(await refusals(platform))

            if branches == 1:
                await branch(0)
            else:
                await asyncio.gather(*map(branch, range(branches)))

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    assert refused == [list(platform.calls)] * branches
    assert platform.happened == []
    await lab.after(3601)
    assert (await lab.ends(instance)).status == "complete"


async def test_platform_calls_of_tasks_that_a_finally_block_makes_do_nothing_either(
    lab: Lab, platform: Platform
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            try:
                await step.sleep("nap", "1 hour")
            finally:
                tasks.extend(asyncio.ensure_future(call()) for call in platform.calls.values())

    await lab.start(Flow)
    await lab.reaches(await lab.of(Flow).create(), "waiting")
    assert [task.cancelled() for task in tasks] == [True] * len(platform.calls)
    assert platform.happened == []


async def test_platform_calls_of_a_step_that_terminate_cuts_off_raise_and_do_nothing(
    lab: Lab, platform: Platform
) -> None:
    refused: list[list[str]] = []
    begun = asyncio.Event()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def work() -> None:
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    refused.append(await refusals(platform))

            await step.do("work", work)

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await begun.wait()
    await instance.terminate()
    assert refused == [list(platform.calls)]
    assert platform.happened == []


async def test_platform_calls_of_a_step_that_its_timeout_ends_are_made(lab: Lab, platform: Platform) -> None:
    begun = asyncio.Event()

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            async def work() -> None:
                try:
                    begun.set()
                    await asyncio.Event().wait()
                finally:
                    await platform.calls["method and storage"]()

            await step.do("work", {"timeout": 5, "retries": {"limit": 0}}, work)

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await begun.wait()
    await lab.after(5)
    assert (await lab.ends(instance)).status == "errored"
    await eventually(lambda: asyncio.sleep(0, platform.happened == ["keep"]), "the object was called")


# --- code that catches its cancellation -------------------------------------------------------------------------------


class Stubborn:
    """Code that goes on although it was cancelled, until ``ends``."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self._may_end = False

    def begins(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)

    def caught(self) -> None:
        """To be called by what catches everything."""
        if self._may_end:
            raise asyncio.CancelledError

    async def ends(self) -> None:
        self._may_end = True
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


@pytest_asyncio.fixture
async def stubborn(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stubborn]:
    monkeypatch.setattr(run, "PATIENCE", 0.0)
    monkeypatch.setattr(run, "AGAIN", 0.0)
    code = Stubborn()
    yield code
    await code.ends()


async def test_code_that_catches_its_cancellation_and_asks_on_and_on_holds_up_nobody(
    lab: Lab, stubborn: Stubborn
) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> int:
            stubborn.begins()
            attempt = 0
            while True:
                try:
                    await step.sleep(f"nap {attempt}", "1 hour")
                except BaseException:  # noqa: BLE001 - what this test is about
                    stubborn.caught()
                    attempt += 1
                else:
                    return attempt

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    assert lab.engine.left_over() == [f"Flow/{instance.id}"]
    [notice] = [event for event in lab.observer.events if isinstance(event, Notice)]
    assert "left behind" in notice.message
    assert [step.name for step in (await instance.status()).steps] == ["nap 0"]
    await lab.after(3601)
    assert (await lab.ends(instance)).output == 0


async def test_code_that_catches_its_cancellation_and_awaits_something_else_is_left_behind(
    lab: Lab, stubborn: Stubborn
) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> Any:
            stubborn.begins()
            while True:
                try:
                    received = await step.wait_for_event("word", type="word")
                except BaseException:  # noqa: BLE001 - what this test is about
                    stubborn.caught()
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
                else:
                    return received.payload

    await lab.start(Flow)
    instance = await lab.of(Flow).create()
    await lab.reaches(instance, "waiting")
    await instance.send_event("word", "yes")
    assert (await lab.ends(instance)).output == "yes"
