"""``moorings workflow``, as an operator types it. What it shows of a life is in the example ``processing_workflow``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from moorings.cli.commands import moorings
from tests.support.platform import Platform

WORKER = """
from moorings import Response, WorkerEntrypoint, WorkflowEntrypoint


class Flow(WorkflowEntrypoint):
    async def run(self, event, step):
        return (await step.wait_for_event("word", type="word")).payload


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("")
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("workflows")
    (folder / "worker.py").write_text(WORKER)
    with Platform(folder / "worker.py", folder / "platform") as served:
        yield served


def run(platform: Platform, *arguments: str) -> Result:
    return CliRunner().invoke(moorings, ["workflow", *arguments, "--data-dir", str(platform.data)])


def said(platform: Platform, *arguments: str) -> str:
    done = run(platform, *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_an_instance_is_held_begun_anew_and_ended(platform: Platform) -> None:
    assert said(platform, "create", "Flow", "--id", "held") == "held\n"
    assert said(platform, "pause", "Flow", "held") == "Flow/held is paused\n"
    assert said(platform, "send-event", "Flow", "held", "word", "[1]") == "sent to Flow/held\n"
    anew = json.loads(said(platform, "restart", "Flow", "held", "--json"))["steps"]
    assert all(step["state"] == "waiting" for step in anew)  # as soon as it has been asked for
    assert said(platform, "terminate", "Flow", "held") == "Flow/held is terminated\n"
    [listed] = json.loads(said(platform, "ls", "--status", "terminated", "--json"))
    assert (listed["workflow"], listed["id"]) == ("Flow", "held")
    assert "no such instances" in said(platform, "ls", "--status", "errored")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["create", "Flow", "{tea}"], 2, "no JSON"),
        (["create", "Flwo"], 1, "no workflow 'Flwo'; its workflows are: Flow"),
        (["create", "Flow", "--id", "a/b"], 1, "1 to 100 letters"),
        (["describe", "Flow", "nobody"], 1, "Flow has no instance 'nobody'"),
        (["ls", "--status", "eroded"], 1, "there is no status 'eroded'; those there are: queued, running, waiting"),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(
    platform: Platform, arguments: list[str], code: int, complaint: str
) -> None:
    done = run(platform, *arguments)
    assert done.exit_code == code
    assert complaint in done.stderr
