"""What a configuration says of queues, as the broker takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from moorings.config.schema import Configuration, QueueConsumer
from moorings.queues.limits import RETENTION


class ConsumerKind(StrEnum):
    """Who takes messages out of a queue. The names are those of a wrangler configuration."""

    WORKER = "worker"
    HTTP_PULL = "http_pull"


HANDLER_TIMEOUT = 900.0
"""Seconds that a worker may take with a batch (Cloudflare: the same 15 minutes)."""

VISIBILITY_TIMEOUT = 30.0
"""Seconds that a message which was pulled stays hidden."""


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How messages of a queue are delivered. Times are in seconds.

    ``lease`` is how long a delivery may take: the time of a worker's handler, or the visibility timeout of a pull.
    """

    kind: ConsumerKind = ConsumerKind.WORKER
    max_batch_size: int = 10
    max_batch_timeout: float = 5.0
    max_retries: int = 3
    max_concurrency: int | None = None
    dead_letter_queue: str | None = None
    retry_delay: float = 0.0
    lease: float = HANDLER_TIMEOUT


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """A binding in ``env``. ``delivery_delay`` is in seconds."""

    queue: str
    delivery_delay: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Everything that a configuration says of queues: producers by binding, the rest by queue."""

    producers: Mapping[str, ProducerSettings] = field(default_factory=dict)
    consumers: Mapping[str, ConsumerSettings] = field(default_factory=dict)
    retention: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Every queue that is named."""
        letters = {consumer.dead_letter_queue for consumer in self.consumers.values() if consumer.dead_letter_queue}
        return {producer.queue for producer in self.producers.values()} | self.consumers.keys() | letters

    def retention_of(self, queue: str) -> float:
        """Seconds that a queue keeps a message."""
        return self.retention.get(queue, RETENTION)


def read_queue_settings(configuration: Configuration) -> QueueSettings:
    """The settings in a configuration that has no mistakes."""
    queues = configuration.queues
    if queues is None:
        return QueueSettings()
    producers = queues.producers or []
    return QueueSettings(
        producers={each.binding: ProducerSettings(each.queue, each.delivery_delay or 0.0) for each in producers},
        consumers={each.queue: _consumer(each) for each in queues.consumers or ()},
        retention={
            each.queue: float(each.message_retention_period)
            for each in producers
            if each.message_retention_period is not None
        },
    )


def _consumer(entry: QueueConsumer) -> ConsumerSettings:
    kind = ConsumerKind.WORKER if entry.type is None else ConsumerKind(entry.type)
    default = ConsumerSettings(kind, lease=HANDLER_TIMEOUT if kind is ConsumerKind.WORKER else VISIBILITY_TIMEOUT)
    said = {
        "max_batch_size": entry.max_batch_size,
        "max_batch_timeout": entry.max_batch_timeout,
        "max_retries": entry.max_retries,
        "max_concurrency": entry.max_concurrency,
        "dead_letter_queue": entry.dead_letter_queue,
        "retry_delay": entry.retry_delay,
        "lease": None if entry.visibility_timeout_ms is None else entry.visibility_timeout_ms / 1000,
    }
    values = {name: value for name, value in said.items() if value is not None}
    return ConsumerSettings(
        kind,
        **{name: values.get(name, getattr(default, name)) for name in said},
    )
