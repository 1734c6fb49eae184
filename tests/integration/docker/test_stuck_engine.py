"""An Engine that accepts connections and answers nothing: it counts as away, and what it did not hear is done later."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moorings.errors import RuntimeUnavailable
from moorings.runtimes.base import ExitReason
from moorings.runtimes.docker.runtime import DockerRuntime
from moorings.runtimes.fake import Prints
from tests.contract.runtime_labs import DockerLab, Events
from tests.integration.docker.boxes import Box
from tests.integration.docker.test_lives import MOORINGS, ONE, app
from tests.support.platform import Mode, Platform
from tools.engine import Engine


@contextmanager
def stuck(engine: Engine) -> Iterator[None]:
    """The Engine's process is stopped meanwhile."""
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(engine.pid, signal.SIGCONT)


async def test_an_engine_that_is_stuck_is_told_and_what_it_did_not_hear_is_done_when_it_answers_again(
    lab: DockerLab, runtime: DockerRuntime, events: Events, engine: Engine
) -> None:
    killed, kept, later = lab.spec(Prints("up")), lab.spec(Prints("up")), lab.spec(Prints("up"))
    for spec in (killed, kept):
        await runtime.start(spec)
        await events.line(spec.token, "up")
    with stuck(engine):
        with pytest.raises(RuntimeUnavailable, match="accepts connections and doesn't answer"):
            await runtime.start(lab.spec())
        assert "answers no more; its containers go on running" in await events.unavailability()
        await runtime.kill(killed.token)
        with pytest.raises(RuntimeUnavailable, match="accepts connections and doesn't answer"):
            await runtime.start(lab.spec())
    assert (await events.exit_of(killed.token)).reason is ExitReason.DESTROYED
    await runtime.start(later)
    await events.line(later.token, "up")
    assert events.exits(kept.token) == []


def test_the_doctor_says_that_an_engine_is_stuck(engine: Engine) -> None:
    with stuck(engine):
        told = subprocess.run(
            [MOORINGS, "doctor", "--runtime", "docker"],
            env={**os.environ, "DOCKER_HOST": engine.host},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert told.returncode == 1
    assert "accepts connections and doesn't answer" in told.stdout
    assert "systemctl restart docker" in told.stdout


async def test_dev_ends_though_the_engine_is_stuck_and_says_what_it_leaves(engine: Engine, tmp_path: Path) -> None:
    worker = app(tmp_path)
    worker.write_text(ONE.replace("default_port", 'stop_grace = "1s"\n    default_port'))
    first = Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine)
    try:
        await Box(first, "one").ask()
        with stuck(engine):
            os.kill(first.pid, signal.SIGTERM)
            assert first.wait_until_ended(within=60.0) == 0
            assert "One/one has not ended although it was killed" in first.output
            assert "containers are left on the Engine" in first.output
        assert len(first.docker_containers()) == 1
        with Platform(worker, tmp_path / "platform", mode=Mode.DEV, engine=engine) as second:
            assert (await Box(second, "one").ask())["visits"] == 1
    finally:
        first.kill()
