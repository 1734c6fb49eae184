"""Choosing among interchangeable instances: the power of two choices.

Two candidates are drawn at random and the one with fewer requests in flight is taken. That keeps the longest queue
within O(log log n) of the average (Mitzenmacher 2001), with no shared state beyond the counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable


def instance_names(instances: int) -> list[str]:
    """The names that ``get_random(instances)`` chooses from. Raises TypeError or ValueError."""
    if isinstance(instances, bool) or not isinstance(instances, int):
        raise TypeError(f"instances is an int, not {type(instances).__name__}")
    if instances < 1:
        raise ValueError(f"instances must be at least 1, not {instances}")
    return [f"instance-{number}" for number in range(instances)]


def choose(names: list[str], load: Callable[[str], int], rng: random.Random) -> str:
    """The less loaded of two distinct names drawn at random."""
    if len(names) == 1:
        return names[0]
    first, second = rng.sample(names, 2)
    return second if load(second) < load(first) else first
