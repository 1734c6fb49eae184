"""How many batches of a queue may be under way at a time. Pure.

With ``max_concurrency`` it is that number. Without, it follows the work, as on Cloudflare: one more whenever a batch
ends well while a full one waits, half as many when a handler raises or is cut off, and step by step
back to where it began when nothing waits any more.
Source: developers.cloudflare.com/queues/configuration/consumer-concurrency/
"""

from __future__ import annotations

from typing import Final

INITIAL: Final = 10
"""Batches at a time to begin with."""

MOST: Final = 250
"""Batches at a time at most (Cloudflare: the same)."""


class Concurrency:
    """``limit`` is how many batches may be under way."""

    __slots__ = ("_fixed", "limit")

    def __init__(self, fixed: int | None) -> None:
        self._fixed = fixed
        self.limit = INITIAL if fixed is None else fixed

    def use(self, fixed: int | None) -> None:
        """Go by another setting."""
        if fixed != self._fixed:
            self._fixed = fixed
            self.limit = INITIAL if fixed is None else fixed

    def ended_well(self, *, full_batch_waits: bool) -> None:
        """A handler has returned."""
        if self._fixed is None:
            if full_batch_waits:
                self.limit = min(MOST, self.limit + 1)
            elif self.limit != INITIAL:
                self.limit += 1 if self.limit < INITIAL else -1

    def failed(self) -> None:
        """A handler has raised, or was cut off."""
        if self._fixed is None:
            self.limit = max(1, self.limit // 2)
