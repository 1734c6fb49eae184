"""Choosing among interchangeable instances: the power of two choices.

Two candidates are drawn at random and the one with fewer requests in flight is taken. That keeps the longest queue
within O(log log n) of the average (Mitzenmacher 2001), with no shared state beyond the counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

MOST_INSTANCES: Final = 1_000_000


def instance_name(number: int) -> str:
    """The name of one of the instances that ``get_random`` chooses from; ``number`` counts from 0."""
    return f"instance-{number}"


def check_instances(instances: int) -> None:
    """Raises TypeError or ValueError where it is no number of instances."""
    if isinstance(instances, bool) or not isinstance(instances, int):
        raise TypeError(f"instances is an int, not {type(instances).__name__}")
    if instances < 1:
        raise ValueError(f"instances must be at least 1, not {instances}")
    if instances > MOST_INSTANCES:
        raise ValueError(f"instances must be at most {MOST_INSTANCES:,}")


def choose(instances: int, load: Callable[[str], int], rng: random.Random) -> str:
    """The name of the less loaded of two distinct instances drawn at random. Raises TypeError or ValueError."""
    check_instances(instances)
    if instances == 1:
        return instance_name(0)
    first, second = map(instance_name, rng.sample(range(instances), 2))
    return second if load(second) < load(first) else first
