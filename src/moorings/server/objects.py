"""Builds the namespaces of an app: each object's ``ctx``, and the controller of its container where it has one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from moorings.clock import Clock
from moorings.containers.container import Container
from moorings.containers.controller import Controller
from moorings.containers.handle import ContainerHandle
from moorings.containers.lifecycle import RUNS
from moorings.containers.options import ContainerOptions
from moorings.containers.records import SpareRecord
from moorings.containers.service import ContainerService
from moorings.containers.slots import Slots
from moorings.containers.spares import SparePool
from moorings.objects.activation import Activation
from moorings.objects.durable_object import DurableObject
from moorings.objects.namespace import Namespace
from moorings.objects.sql_files import SqlFiles
from moorings.objects.state import DurableObjectState
from moorings.objects.storage import Storage
from moorings.objects.timers import TimerOwner
from moorings.observer import Observer
from moorings.runtimes.base import Running
from moorings.server.timing import ObjectAlarms, Timing
from moorings.store import Store
from moorings.worker.env import Env
from moorings.worker.loader import Application


@dataclass(frozen=True, slots=True)
class StorageParts:
    """What the storage of objects is made of."""

    store: Store
    files: SqlFiles


def _nothing() -> None:
    """A write of an object that has no container to keep awake."""


class Objects:
    """All namespaces of an app, and what their activations are equipped with."""

    def __init__(
        self,
        app: Application,
        variables: Mapping[str, Any],
        *,
        service: ContainerService,
        clock: Clock,
        observer: Observer,
        storage: StorageParts | None = None,
    ) -> None:
        self._service = service
        self._clock = clock
        self._observer = observer
        self._storage = storage
        self._variables = dict(variables)
        self._options: dict[str, ContainerOptions] = {}
        self._slots: dict[str, Slots] = {}
        self.spares: dict[str, SparePool] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.env = Env({})
        self._spares_open = False
        self.timing = (
            None if storage is None else Timing(storage.store, self.namespaces, clock=clock, observer=observer)
        )
        self.reload(app, variables)

    def reload(self, app: Application, variables: Mapping[str, Any]) -> list[Controller]:
        """Take a new version of the app. Returns the controllers whose container runs with outdated start options."""
        added = {
            name: Namespace(cls, equip=self._equip, clock=self._clock, observer=self._observer)
            for name, cls in app.objects.items()
            if name not in self.namespaces
        }
        known = {**self.namespaces, **added}
        env = Env({**variables, **{name: known[cls] for name, cls in app.bindings.items()}})
        outdated = [
            controller
            for controller in self._service.controllers()
            if self._is_outdated(controller.subject.class_name, app.options)
        ]
        # Everything that may fail is done: from here on the new version holds.
        self._variables = dict(variables)
        self._options = dict(app.options)
        self.namespaces.update(added)
        self.env = env
        for name, options in app.options.items():
            if name in self._slots:
                self._slots[name].resize(options.max_instances)
            else:
                self._slots[name] = Slots(name, options.max_instances, self._clock)
                self.spares[name] = SparePool(options, self._slots[name], self._service)
        for name, pool in self.spares.items():
            pool.adopt_options(app.options.get(name))
            if self._spares_open and name in app.options:
                pool.open()
        for controller in self._service.controllers():
            new = app.options.get(controller.subject.class_name)
            if new is not None:
                controller.adopt_options(new)
                if controller.status in RUNS:
                    controller.activity.arm()  # a shorter sleep_after holds from now on
        for name, cls in app.objects.items():
            namespace = self.namespaces[name]
            for activation in namespace.live():
                activation.env = self.env
            if namespace.cls is not cls:
                namespace.reload(cls)
        return outdated

    def _is_outdated(self, class_name: str, options: Mapping[str, ContainerOptions]) -> bool:
        """Whether containers of a class were started with other options, or before the class went away."""
        old, new = self._options.get(class_name), options.get(class_name)
        return old is None or new is None or old.start != new.start

    def _equip(self, activation: Activation, cls: type[DurableObject]) -> None:
        services: dict[str, Any] = {}
        if issubclass(cls, Container):
            name = activation.subject.class_name
            controller = Controller(
                activation, self._options[name], self._slots[name], self.spares[name], self._service
            )
            activation.hosted = controller
            services["controller"] = controller
            services["container"] = ContainerHandle(controller)
        activation.env = self.env
        activation.state = DurableObjectState(activation, services, self._open_storage if self._storage else None)

    def _open_storage(self, activation: Activation) -> Storage:
        parts = self._storage
        assert parts is not None
        assert self.timing is not None
        subject = activation.subject
        controller = activation.hosted
        return Storage(
            parts.store,
            TimerOwner(activation.id.raw, subject.class_name, subject.name),
            label=subject.label,
            files=parts.files,
            alarms=ObjectAlarms(self.namespaces[subject.class_name], self.timing.timers),
            clock=self._clock,
            on_write=controller.activity.renew if isinstance(controller, Controller) else _nothing,
            on_failure=activation.storage_failed,
            exclusive=activation.block,
        )

    @property
    def container_classes(self) -> Collection[str]:
        """The names of the classes that have containers."""
        return self._options.keys()

    def restore_spare(self, record: SpareRecord, running: Running) -> bool:
        """Keep a spare that the platform had before, unless it is outdated or one too many."""
        return self.spares[record.class_name].restore(record, running)

    def open_spares(self) -> None:
        """From now on keep as many warm spares as the classes want."""
        self._spares_open = True
        for pool in self.spares.values():
            pool.open()

    def hold_spares(self) -> None:
        """Start none any more: the platform is about to stop."""
        self._spares_open = False
        for pool in self.spares.values():
            pool.hold()

    def replace_spares(self, classes: Mapping[str, float]) -> None:
        """Replace the spares of some classes that were started before a Unix time."""
        for name, before in classes.items():
            if name in self.spares:
                self.spares[name].replace_older(before)

    def activations(self) -> list[Activation]:
        """Every activation in memory."""
        return [activation for namespace in self.namespaces.values() for activation in namespace.live()]

    async def shutdown(self) -> None:
        """Put every object away; containers are left as they are."""
        await asyncio.gather(*(pool.close() for pool in self.spares.values()))
        await asyncio.gather(*(self._shutdown(namespace) for namespace in self.namespaces.values()))

    async def _shutdown(self, namespace: Namespace) -> None:
        hosted = [activation.hosted for activation in namespace.live()]
        await asyncio.gather(*(each.shutdown() for each in hosted if isinstance(each, Controller)))
        await namespace.shutdown()
