"""What a step gives to the code that asks for it, the first time and in each replay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from moorings.errors import ConfigError, UpstreamError, WorkflowError, WorkflowInstanceNotFound
from moorings.http.client_connection import Dropped
from moorings.workflows.entrypoint import WorkflowEntrypoint
from tests.unit.workflows.lab import Lab


async def test_a_containers_failure_is_caught_as_the_documented_class_also_in_a_replay(lab: Lab) -> None:
    caught: list[type[Exception]] = []

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            def process() -> None:
                raise Dropped("the upstream closed the connection before it answered")

            try:
                await step.do("process", {"retries": {"limit": 0}}, process)
            except Exception as error:  # noqa: BLE001  # which it is, is what the test is about
                caught.append(type(error))
            await step.sleep("nap", "1 hour")
            return "over"

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    told = await lab.reaches(instance, "waiting")
    assert told.steps[0].error is not None
    assert told.steps[0].error.name == "UpstreamError"
    await lab.after(3601)
    assert (await lab.ends(instance)).output == "over"
    assert caught == [UpstreamError, UpstreamError]


async def test_an_error_of_the_operating_system_is_caught_as_its_class_and_names_its_file(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[str]:
            caught = []
            for name in ("one", "two"):
                try:
                    await step.do(name, {"retries": {"limit": 0}}, Path(f"/nowhere/{name}").read_text)
                except FileNotFoundError as error:
                    caught.append(str(error.filename))
            return caught

    await lab.start(Flow)
    assert (await lab.ends(await lab.of(Flow).create("i"))).output == ["/nowhere/one", "/nowhere/two"]


async def test_an_error_of_the_workers_own_keeps_its_class(lab: Lab) -> None:
    class Broken(ConfigError):
        pass

    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            def work() -> None:
                raise Broken("mine")

            await step.do("work", {"retries": {"limit": 0}}, work)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create("i"))
    assert ended.steps[0].error is not None
    assert ended.steps[0].error.name == "Broken"


@pytest.mark.parametrize(
    "when",
    [
        lambda now: now + 3600,
        lambda now: datetime.fromtimestamp(now, UTC) + timedelta(hours=1),
        lambda now: datetime.fromtimestamp(now, timezone(timedelta(hours=-5))) + timedelta(hours=1),
        lambda now: datetime.fromtimestamp(now) + timedelta(hours=1),
    ],
    ids=["seconds", "utc", "elsewhere", "naive"],
)
async def test_sleep_until_goes_on_at_its_moment_also_after_a_crash(lab: Lab, when: Callable[[float], Any]) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            await step.sleep_until("nap", when(event.timestamp.timestamp()))
            return "over"

    await lab.start(Flow)
    instance = await lab.of(Flow).create("i")
    assert (await lab.reaches(instance, "waiting")).steps[0].due == datetime.fromtimestamp(lab.clock.time() + 3600, UTC)
    await lab.crash()
    await lab.after(3599)
    await lab.start(Flow)
    instance = await lab.of(Flow).get("i")
    assert await lab.status(instance) == "waiting"
    await lab.after(2)
    assert (await lab.ends(instance)).output == "over"


async def test_sleep_until_what_has_passed_goes_on_at_once(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> str:
            await step.sleep_until("nap", event.timestamp - timedelta(days=1))
            return "over"

    await lab.start(Flow)
    assert (await lab.ends(await lab.of(Flow).create("i"))).output == "over"


@pytest.mark.parametrize("when", ["tomorrow", None, True, float("nan"), float("inf")])
async def test_sleep_until_refuses_what_is_no_time_and_names_the_step(lab: Lab, when: Any) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.sleep_until("nap", when)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create("i"))
    assert ended.error is not None
    assert ended.error.name in ("TypeError", "ValueError")
    assert "step.sleep_until('nap')" in ended.error.message


async def test_an_event_says_which_instance_of_which_workflow_it_made(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> list[Any]:
            names = ("payload", "instance_id", "workflow_name")
            assert [event[name] for name in names] == [getattr(event, name) for name in names]
            return [event.payload, event.instance_id, event.workflow_name, event.timestamp.timestamp()]

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create("i", {"a": 1}))
    assert ended.output == [{"a": 1}, "i", "Flow", lab.clock.time()]


async def test_a_workflow_that_does_not_exist_is_told_from_an_instance_that_does_not(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            return None

    await lab.start(Flow)
    with pytest.raises(WorkflowError, match="no workflow 'Flaw'; its workflows are: Flow"):
        await lab.operations.status("Flaw", "i")
    with pytest.raises(WorkflowInstanceNotFound, match="Flow has no instance 'i'"):
        await lab.operations.status("Flow", "i")
