"""Queues as parts of a platform: the broker between the store, ``env`` and the worker."""

from __future__ import annotations

from moorings.clock import Clock
from moorings.observer import Observer
from moorings.queues.batch import MessageBatch
from moorings.queues.broker import Broker
from moorings.queues.managing import Managing
from moorings.queues.producer import Queue
from moorings.queues.pulling import Pulling
from moorings.queues.settings import QueueSettings, read_queue_settings
from moorings.store import Store
from moorings.worker.host import WorkerHost
from moorings.worker.loader import Application


class Queueing:
    """The queues of a platform. ``open``, ``start`` with the worker, ``halt``, ``close``."""

    def __init__(self, store: Store, *, clock: Clock, observer: Observer) -> None:
        self._worker: WorkerHost | None = None
        self.broker = Broker(store, clock=clock, observer=observer, deliver=self._deliver)
        self.pulling = Pulling(self.broker)
        self.managing = Managing(self.broker)

    async def open(self, app: Application) -> dict[str, Queue]:
        """Find the queues. Returns what stands in ``env``. Raises StoreError."""
        settings = _settings(app)
        await self.broker.open(settings)
        return self.broker.bindings(settings)

    def bindings(self, app: Application) -> dict[str, Queue]:
        """What stands in ``env`` for an app. Raises InvalidMessage."""
        return self.broker.bindings(_settings(app))

    def start(self, worker: WorkerHost) -> None:
        """Deliver messages to the worker from now on."""
        self._worker = worker
        self.broker.start()

    def use(self, app: Application) -> None:
        """Go by a new version of the app. Raises StoreError."""
        self.broker.use(_settings(app))

    async def _deliver(self, batch: MessageBatch) -> None:
        assert self._worker is not None
        await self._worker.queue(batch)

    async def drain(self) -> None:
        """Begin no more deliveries, and wait until none is under way."""
        self.broker.halt()
        await self.broker.settled()

    async def close(self) -> None:
        """Cancel deliveries; their messages come again at the next start."""
        await self.broker.close()


def _settings(app: Application) -> QueueSettings:
    return read_queue_settings(app.settings.configuration)
