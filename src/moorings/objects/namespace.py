"""``env.NAME``: all objects of one class, and the one place that knows which of them are in memory.

Invariant: an id has at most one activation here; it is made and put away on the event loop's thread, without an
``await`` in between, so no two requests can race to make it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from moorings.clock import Clock, TimerHandle
from moorings.errors import NotCallable, ObjectReset
from moorings.objects import balancing, identity
from moorings.objects.activation import Activation
from moorings.objects.durable_object import DurableObject, is_inline
from moorings.objects.identity import ObjectId
from moorings.objects.stub import refusal, stub_type
from moorings.observer import Observer, Subject

EVICT_AFTER = 10.0
"""Seconds without anything going on after which an object's memory is given back (Cloudflare: about 10 s)."""


def evictable(activations: Iterable[Activation], now: float, after: float) -> list[Activation]:
    """Those that have been idle for ``after`` seconds."""
    return [a for a in activations if a.idle and now - a.idle_since >= after]


class Namespace:
    """All objects of one class."""

    def __init__(
        self,
        cls: type[DurableObject],
        *,
        equip: Callable[[Activation, type[DurableObject]], Any],
        clock: Clock,
        observer: Observer,
        evict_after: float = EVICT_AFTER,
        rng: random.Random | None = None,
    ) -> None:
        """``equip(activation, cls)`` gives a new activation what it hosts, and makes the user's instance."""
        self.class_name = cls.__name__
        self.inline_fetch = False
        self._equip = equip
        self._clock = clock
        self._observer = observer
        self._evict_after = evict_after
        self._rng = rng or random.Random()
        self._live: dict[bytes, Activation] = {}
        self._by_name: dict[str, Activation] = {}
        self._sweep: TimerHandle | None = None
        self._adopt(cls)

    def _adopt(self, cls: type[DurableObject]) -> None:
        self.cls = cls
        self._stub = stub_type(cls)
        self.inline_fetch = is_inline(cls.fetch)

    # --- what users call --------------------------------------------------------------------------------------------

    def get_by_name(self, name: str) -> Any:
        """The stub of the object of that name. Raises TypeError or ValueError where it can't be a name."""
        activation = self._by_name.get(name) if type(name) is str else None
        if activation is None:
            identity.check_name(name)
        return self._stub(self, name, None, activation)

    def id_from_name(self, name: str) -> ObjectId:
        """The id of a name: the same forever."""
        return identity.id_from_name(self.class_name, name)

    def id_from_string(self, text: str) -> ObjectId:
        """An id from its 64 hex digits. Raises TypeError or ValueError."""
        return identity.id_from_string(self.class_name, text)

    def new_unique_id(self) -> ObjectId:
        """A random id that no name has."""
        return identity.new_unique_id(self.class_name)

    def get(self, object_id: ObjectId) -> Any:
        """The stub of the object with that id.

        Raises TypeError for anything that is not an id, and ValueError for an id of another class.
        """
        if not isinstance(object_id, ObjectId):
            raise TypeError(f"get() takes an id (id_from_name, id_from_string, new_unique_id), not {object_id!r:.80}")
        identity.check_class(self.class_name, object_id)
        return self._stub(self, object_id.name, object_id, self._live.get(object_id.raw))

    def get_random(self, instances: int = 3) -> Any:
        """The stub of one of ``instances`` named objects.

        Of two drawn at random, it is the one with fewer requests in flight. Raises TypeError, and ValueError outside
        of 1 to 1,000,000.
        """
        return self.get_by_name(balancing.choose(instances, self._load, self._rng))

    def __repr__(self) -> str:
        return f"<namespace of {self.class_name}>"

    # --- what stubs and the platform call ------------------------------------------------------------------------

    def _load(self, name: str) -> int:
        activation = self._by_name.get(name)
        return 0 if activation is None else activation.load

    def activate(self, object_id: ObjectId) -> Activation:
        """The object's activation, made if it isn't in memory. Without I/O; the user's code runs at its first event."""
        activation = self._live.get(object_id.raw)
        if activation is None:
            subject = Subject(self.class_name, str(object_id), object_id.name)
            activation = Activation(
                object_id, subject, factory=self._instantiate, clock=self._clock, observer=self._observer
            )
            self._live[object_id.raw] = activation
            self._equip(activation, self.cls)
        if object_id.name is not None and object_id.name not in self._by_name:
            self._by_name[object_id.name] = activation
            activation.learn_name(object_id.name)
        if self._sweep is None:
            self._sweep = self._clock.call_later(self._evict_after, self._evict)
        return activation

    def _instantiate(self, activation: Activation) -> Any:
        return self.cls(activation.state, activation.env)  # type: ignore[arg-type]

    def refusal(self, name: str) -> NotCallable:
        """The error for a name that stubs of this class don't offer."""
        return refusal(self.cls, name)

    def live(self) -> list[Activation]:
        """All activations in memory."""
        return list(self._live.values())

    def reload(self, cls: type[DurableObject]) -> None:
        """Take a new version of the class: each object's memory is dropped, its container and storage stay."""
        self._adopt(cls)
        for activation in self._live.values():
            activation.reset(ObjectReset(f"{activation.subject.label} was reset: its code was reloaded"))

    def _evict(self) -> None:
        now = self._clock.monotonic()
        for activation in evictable(self._live.values(), now, self._evict_after):
            self._forget(activation)
        self._sweep = self._clock.call_later(self._evict_after, self._evict) if self._live else None

    def _forget(self, activation: Activation) -> None:
        activation.alive = False
        del self._live[activation.id.raw]
        if activation.id.name is not None:
            self._by_name.pop(activation.id.name, None)
        activation.put_away()

    async def shutdown(self) -> None:
        """Put every object away: cancel what still runs, and wait for it, two seconds at most."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        activations = self.live()
        await asyncio.gather(*(activation.shutdown() for activation in activations))
        for activation in activations:
            self._forget(activation)
