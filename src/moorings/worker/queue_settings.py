"""What a configuration file says about queues, held against itself and the worker's class."""

from __future__ import annotations

from collections.abc import Iterator

from moorings.config.parsing import shown
from moorings.config.schema import Configuration
from moorings.errors import InvalidMessage
from moorings.queues.broker import check_name
from moorings.worker.entrypoint import WorkerEntrypoint


def _listens(worker: type[WorkerEntrypoint]) -> bool:
    return worker.queue is not WorkerEntrypoint.queue


def queue_mismatches(configuration: Configuration, worker: type[WorkerEntrypoint] | None) -> list[str]:
    """Mistakes of ``queues``: names, consumers that exclude each other, and what nothing would answer."""
    queues = configuration.queues
    if queues is None:
        return []
    found = list(_bad_names(configuration))
    retention: dict[str, int] = {}
    for index, producer in enumerate(queues.producers or ()):
        period = producer.message_retention_period
        if period is not None and retention.setdefault(producer.queue, period) != period:
            path = f"queues.producers[{index}].message_retention_period"
            found.append(f"{path}: expected {retention[producer.queue]}, as for {producer.queue} above, got {period}")
    consumers: dict[str, str] = {}
    for index, consumer in enumerate(queues.consumers or ()):
        path, name = f"queues.consumers[{index}]", consumer.queue
        if name in consumers:
            found.append(f"{path}.queue: expected one consumer for each queue, {name} has {consumers[name]} already")
        consumers.setdefault(name, path)
        if name and consumer.dead_letter_queue == name:
            found.append(f"{path}.dead_letter_queue: expected another queue, got {shown(name)}")
        if consumer.type != "http_pull" and worker is not None and not _listens(worker):
            wanted = f"the class {worker.__name__} to have async def queue(self, batch)"
            found.append(f'{path}: expected {wanted}, or type = "http_pull", got messages that nothing takes')
    return found


def _bad_names(configuration: Configuration) -> Iterator[str]:
    queues = configuration.queues
    assert queues is not None
    names = [(f"producers[{i}].queue", each.queue) for i, each in enumerate(queues.producers or ())]
    names += [(f"consumers[{i}].queue", each.queue) for i, each in enumerate(queues.consumers or ())]
    names += [
        (f"consumers[{i}].dead_letter_queue", each.dead_letter_queue)
        for i, each in enumerate(queues.consumers or ())
        if each.dead_letter_queue
    ]
    for path, name in names:
        try:
            if name:
                check_name(name)
        except InvalidMessage as error:
            yield f"queues.{path}: {error}"


def unheard(worker: type[WorkerEntrypoint], configuration: Configuration) -> list[str]:
    """A warning where the worker has a handler that no queue leads to."""
    queues = configuration.queues
    if not _listens(worker) or (queues is not None and any(c.type != "http_pull" for c in queues.consumers or ())):
        return []
    return [
        f"{worker.__name__}.queue is never called: name its queue in moorings.toml beside the worker, such as "
        '[[queues.producers]] binding = "JOBS" queue = "jobs" and [[queues.consumers]] queue = "jobs"'
    ]
