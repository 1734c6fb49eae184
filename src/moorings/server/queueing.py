"""Queues as parts of a platform: the broker between the store, ``env`` and the worker."""

from __future__ import annotations

import asyncio

from moorings.clock import Clock
from moorings.errors import ConfigError
from moorings.observer import Notice, Observer
from moorings.queues.batch import MessageBatch
from moorings.queues.broker import Broker
from moorings.queues.managing import Managing
from moorings.queues.producer import Queue
from moorings.queues.pulling import Pulling
from moorings.queues.settings import QueueSettings, read_queue_settings
from moorings.server.options import PlatformOptions
from moorings.server.pull_api import PullApi
from moorings.store import Store
from moorings.worker.host import WorkerHost
from moorings.worker.loader import Application


class Queueing:
    """The queues of a platform. ``open``, ``start`` with the worker, ``halt``, ``close``."""

    def __init__(self, store: Store, *, clock: Clock, observer: Observer) -> None:
        self._worker: WorkerHost | None = None
        self._api: PullApi | None = None
        self._observer = observer
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

    async def listen(self, options: PlatformOptions) -> None:
        """Let messages be pulled where the options say so. Raises ConfigError where the address can't be had."""
        if options.admin_listen is None or options.admin_token is None:
            return
        self._api = PullApi(self.pulling, options.admin_token, clock=self.broker.clock, observer=self._observer)
        host, port = options.admin_listen
        try:
            url = await self._api.listen(host, port)
        except OSError as error:
            why = f"--admin-listen {host}:{port} can't be had ({error.strerror or error})"
            raise ConfigError(f"{why}: choose another address or port") from error
        self._observer.notify(Notice("info", f"messages can be pulled from queues at {url}"))

    async def drain(self, timeout: float) -> None:
        """Begin no more deliveries; wait until none is under way, and ``timeout`` seconds at most for pulls."""
        self.broker.halt()
        await asyncio.gather(self.broker.settled(), *([] if self._api is None else [self._api.drain(timeout)]))

    async def close(self) -> None:
        """Cancel deliveries and pulls; their messages come again."""
        if self._api is not None:
            await self._api.close()
        await self.broker.close()


def _settings(app: Application) -> QueueSettings:
    return read_queue_settings(app.settings.configuration)
