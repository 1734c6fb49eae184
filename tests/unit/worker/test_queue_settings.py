"""What a configuration says of queues, held against the worker's class; and the worker's ``queue``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moorings import MessageBatch, WorkerEntrypoint
from moorings.errors import ConfigError, WorkerError
from moorings.observer import Recorder
from moorings.queues.limits import RETENTION
from moorings.queues.settings import ConsumerKind, ConsumerSettings, read_queue_settings
from moorings.worker.env import Env
from moorings.worker.host import WorkerHost
from moorings.worker.loader import Application, load_application

LISTENS = """
from moorings import WorkerEntrypoint
class Default(WorkerEntrypoint):
    async def queue(self, batch):
        pass
"""
DEAF = "from moorings import WorkerEntrypoint\nclass Default(WorkerEntrypoint): pass\n"


def load(folder: Path, config: str, worker: str = LISTENS) -> Application:
    (folder / "worker.py").write_text(worker)
    (folder / "moorings.toml").write_text(config)
    return load_application(folder / "worker.py")


def mistake(folder: Path, config: str, worker: str = LISTENS) -> str:
    """The one mistake."""
    with pytest.raises(ConfigError) as caught:
        load(folder, config, worker)
    _, line = str(caught.value).splitlines()
    return line


def test_defaults_are_those_of_cloudflare(tmp_path: Path) -> None:
    app = load(tmp_path, 'queues.consumers = [{ queue = "jobs" }, { queue = "out", type = "http_pull" }]')
    settings = read_queue_settings(app.settings.configuration)
    assert settings.consumers == {
        "jobs": ConsumerSettings(
            ConsumerKind.WORKER,
            max_batch_size=10,
            max_batch_timeout=5.0,
            max_retries=3,
            max_concurrency=None,
            dead_letter_queue=None,
            retry_delay=0.0,
            lease=900.0,
        ),
        "out": ConsumerSettings(ConsumerKind.HTTP_PULL, lease=30.0),
    }
    assert settings.retention_of("jobs") == RETENTION == 4 * 86_400


def test_everything_that_is_said_is_taken(tmp_path: Path) -> None:
    config = """
    [[queues.producers]]
    binding = "JOBS"
    queue = "jobs"
    delivery_delay = 7
    message_retention_period = 60
    [[queues.consumers]]
    queue = "jobs"
    max_batch_size = 1
    max_batch_timeout = 0
    max_retries = 0
    max_concurrency = 2
    dead_letter_queue = "dead"
    retry_delay = 9
    visibility_timeout_ms = 1500
    """
    settings = read_queue_settings(load(tmp_path, config).settings.configuration)
    assert settings.consumers["jobs"] == ConsumerSettings(ConsumerKind.WORKER, 1, 0.0, 0, 2, "dead", 9, 1.5)
    assert (settings.producers["JOBS"].queue, settings.producers["JOBS"].delivery_delay) == ("jobs", 7)
    assert settings.retention_of("jobs") == 60
    assert settings.names == {"jobs", "dead"}


@pytest.mark.parametrize(
    ("config", "worker", "complaint"),
    [
        ('queues.consumers = [{ queue = "a" }]', DEAF, "async def queue(self, batch)"),
        ('queues.consumers = [{ queue = "a" }, { queue = "a" }]', LISTENS, "a has queues.consumers[0] already"),
        ('queues.consumers = [{ queue = "a", dead_letter_queue = "a" }]', LISTENS, "expected another queue"),
        ('queues.consumers = [{ queue = "a", type = "kafka" }]', LISTENS, '"worker" or "http_pull"'),
        ('queues.consumers = [{ queue = "a b" }]', LISTENS, "is no name for a queue"),
        ('queues.producers = [{ binding = "Q", queue = "a", delivery_delay = 50000 }]', DEAF, "0 to 43200"),
    ],
)
def test_what_does_not_fit_is_a_mistake_that_says_what_would(
    tmp_path: Path, config: str, worker: str, complaint: str
) -> None:
    assert complaint in mistake(tmp_path, config, worker)


def test_two_producers_of_a_queue_agree_on_how_long_it_keeps_messages(tmp_path: Path) -> None:
    producer = '[[queues.producers]]\nqueue = "a"\nbinding = "{}"\nmessage_retention_period = {}\n'
    assert "expected 60" in mistake(tmp_path, producer.format("A", 60) + producer.format("B", 61))
    load(tmp_path, producer.format("A", 60) + producer.format("B", 60))


def test_a_handler_that_cannot_be_called_is_a_mistake(tmp_path: Path) -> None:
    for handler in ("async def queue(self): pass", "async def queue(self, batch, env, ctx): pass"):
        worker = f"from moorings import WorkerEntrypoint\nclass Default(WorkerEntrypoint):\n    {handler}\n"
        assert "write async def queue(self, batch)" in mistake(tmp_path, "", worker)


def test_a_handler_that_no_queue_leads_to_is_told(tmp_path: Path) -> None:
    [warning] = load(tmp_path, 'queues.consumers = [{ queue = "a", type = "http_pull" }]').warnings
    assert "Default.queue is never called" in warning
    assert load(tmp_path, "", DEAF).warnings == ()
    assert load(tmp_path, 'queues.consumers = [{ queue = "a" }]').warnings == ()


async def test_what_ends_the_interpreter_ends_the_batch_alone() -> None:
    class Exits(WorkerEntrypoint):
        async def queue(self, batch: MessageBatch) -> None:
            raise SystemExit(3)

    batch: Any = None
    with pytest.raises(WorkerError, match=r"sys\.exit"):
        await WorkerHost(Exits, Env({}), Recorder()).queue(batch)


async def test_a_plain_function_may_consume() -> None:
    seen = []

    class Plain(WorkerEntrypoint):
        def queue(self, batch: Any) -> None:  # type: ignore[override]
            seen.append(batch)

    batch: Any = "batch"
    await WorkerHost(Plain, Env({}), Recorder()).queue(batch)
    assert seen == ["batch"]
