"""Errors that can hardly be told or recorded: an instance ends with them as with any other."""

from __future__ import annotations

from typing import Any

import pytest

from moorings.workflows.entrypoint import WorkflowEntrypoint
from tests.unit.workflows.lab import Lab


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Mute(), ("WorkerError", "raised Mute, whose message can't be had: str() raised RuntimeError('no message')")),
        (ValueError("half a pair: \ud800"), ("ValueError", "half a pair: \\ud800")),
        (ValueError("a number", 10**5000), ("WorkerError", "raised ValueError, whose message can't be had")),
    ],
    ids=["no message", "half of a surrogate pair", "a number of 5,000 digits"],
)
@pytest.mark.parametrize("where", ["run", "step"])
async def test_an_error_that_can_hardly_be_told_ends_its_instance_all_the_same(
    lab: Lab, where: str, error: Exception, told: tuple[str, str]
) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            def fail() -> None:
                raise error

            if where == "run":
                fail()
            await step.do("fail", {"retries": {"limit": 0}}, fail)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert ended.status == "errored"
    assert ended.error is not None
    name, message = told
    assert ended.error.name == name
    assert message in ended.error.message
    assert [step.state for step in ended.steps] == ([] if where == "run" else ["failed"])


async def test_a_name_that_cannot_be_stored_is_refused(lab: Lab) -> None:
    class Flow(WorkflowEntrypoint):
        async def run(self, event: Any, step: Any) -> None:
            await step.do("half a pair: \ud800", lambda: None)

    await lab.start(Flow)
    ended = await lab.ends(await lab.of(Flow).create())
    assert ended.error is not None
    assert "half of a surrogate pair" in ended.error.message
