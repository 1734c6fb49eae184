"""The workflows of a platform: the engine, and what it is in ``env``."""

from __future__ import annotations

from typing import Any

from moorings.clock import Clock
from moorings.observer import Observer
from moorings.store import Store
from moorings.worker.host import WorkerHost
from moorings.worker.loader import Application
from moorings.workflows.binding import Workflow
from moorings.workflows.engine import Engine
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.operations import Operations


class Workflows:
    """Made before the worker's ``env``, which has its bindings; runs instances from ``start`` to ``close``."""

    def __init__(self, store: Store, *, clock: Clock, observer: Observer) -> None:
        self._host: WorkerHost | None = None
        self._engine = Engine(store, clock=clock, observer=observer, instantiate=self._instantiate)
        self.operations = Operations(self._engine)

    def bindings(self, app: Application) -> dict[str, Any]:
        """What ``env`` has of an app's workflows."""
        return {
            name: Workflow(self.operations, definition.name, definition.cls.__name__)
            for name, definition in app.workflows.items()
        }

    async def start(self, app: Application, host: WorkerHost) -> None:
        """Go on with what an earlier platform has left. Raises StoreError."""
        self._host = host
        await self._engine.start(app.workflows.values())

    def reload(self, app: Application) -> None:
        """Take a new version of the app."""
        self._engine.use(app.workflows.values())

    async def close(self, *, grace: float) -> None:
        """Begin nothing more; steps that run get ``grace`` seconds to end. May be called again."""
        await self._engine.close(grace=grace)

    def left_over(self) -> list[str]:
        """Instances whose code has not ended although it was cancelled."""
        return self._engine.left_over()

    def _instantiate(self, cls: type[WorkflowEntrypoint]) -> WorkflowEntrypoint:
        assert self._host is not None
        return cls(self._host.ctx, self._host.env)
