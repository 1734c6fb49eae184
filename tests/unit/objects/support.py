"""Namespaces of plain objects, without containers, for tests of the objects layer."""

from __future__ import annotations

import random
from typing import Any

from moorings.clock import Clock, ManualClock
from moorings.objects.activation import Activation
from moorings.objects.durable_object import DurableObject
from moorings.objects.namespace import Namespace
from moorings.objects.state import DurableObjectState
from moorings.observer import Recorder


def namespace(
    cls: type[DurableObject], *, clock: Clock | None = None, observer: Recorder | None = None, seed: int = 1
) -> Namespace:
    """A namespace whose objects have a ``ctx`` and nothing else."""

    def equip(activation: Activation, cls: type[DurableObject]) -> None:
        services: dict[str, Any] = {}
        activation.state = DurableObjectState(activation, services)

    return Namespace(
        cls,
        equip=equip,
        clock=clock or ManualClock(),
        observer=observer or Recorder(),
        rng=random.Random(seed),
    )
