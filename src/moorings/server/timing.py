"""Delivers alarms and schedules to their objects."""

from __future__ import annotations

from collections.abc import Mapping

from moorings.clock import Clock
from moorings.objects import schedules
from moorings.objects.activation import Activation
from moorings.objects.identity import ObjectId
from moorings.objects.namespace import Namespace
from moorings.objects.timers import TimerKind, TimerRow, Timers, Undeliverable
from moorings.observer import ErrorReported, Observer, Subject
from moorings.store import Store


class ObjectAlarms:
    """The way from one object's storage to the platform's timers."""

    __slots__ = ("_namespace", "_timers")

    def __init__(self, namespace: Namespace, timers: Timers) -> None:
        self._namespace = namespace
        self._timers = timers

    def check(self) -> None:
        """Raises TypeError where the object's class has no ``alarm``."""
        cls = self._namespace.cls  # the current one: a storage outlives a reload
        if not callable(getattr(cls, "alarm", None)):
            raise TypeError(f"{cls.__name__} has no alarm(self) to call; define it before setting an alarm")

    def changed(self, due: float | None) -> None:
        """An alarm or a schedule is durable."""
        self._timers.changed(due)


class Timing:
    """Owns the timers of an app."""

    def __init__(self, store: Store, namespaces: Mapping[str, Namespace], *, clock: Clock, observer: Observer) -> None:
        self._namespaces = namespaces
        self._observer = observer
        self.timers = Timers(store, clock=clock, deliver=self._deliver, settled=self._settled, report=self._report)

    def _activation(self, row: TimerRow) -> Activation:
        namespace = self._namespaces.get(row.class_name)
        if namespace is None:
            raise Undeliverable(f"the {row.kind} of a {row.class_name} is due, and the app has no class of that name")
        return namespace.activate(ObjectId(row.object, row.name))

    async def _deliver(self, row: TimerRow) -> None:
        activation = self._activation(row)
        if row.kind is TimerKind.SCHEDULE:
            await activation.deliver(f"scheduled {row.callback}", lambda instance: schedules.call(instance, row))
            return
        assert activation.state is not None
        activation.state.storage.alarm_fires()
        await activation.deliver("alarm", lambda instance: instance.alarm())

    def _settled(self, row: TimerRow) -> None:
        if row.kind is TimerKind.ALARM and row.class_name in self._namespaces:
            activation = self._activation(row)
            if activation.state is not None:
                activation.state.storage.alarm_fired()

    def _report(self, row: TimerRow | None, error: BaseException) -> None:
        if row is None:
            self._observer.notify(ErrorReported("timers", error))
        else:
            subject = Subject(row.class_name, row.object.hex(), row.name)
            self._observer.notify(ErrorReported(row.callback, error, subject))
