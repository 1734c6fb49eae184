"""Awaitables that the storage's plain functions return: all may be dropped, none warns.

A write takes effect at the call, so what is left to await has mostly happened already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class Done(Generic[T]):
    """A value that is there: awaiting it does not suspend."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, T]:
        yield from ()
        return self._value


NOTHING: Final = Done(None)


class Started(Generic[T]):
    """A coroutine that has run, at the call, as far as it goes without suspending. To be awaited once, or never."""

    __slots__ = ("_blocked", "_coroutine", "_value")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine: Coroutine[Any, Any, T] | None = coroutine
        self._step()

    def _step(self) -> None:
        assert self._coroutine is not None
        try:
            self._blocked = self._coroutine.send(None)
        except StopIteration as stop:
            self._value: T = stop.value
            self._coroutine = None

    def __await__(self) -> Generator[Any, None, T]:
        while self._coroutine is not None:
            yield self._blocked
            self._step()
        return self._value


class AllOf:
    """Awaits several things one after the other; the first error is raised when its turn comes."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: Awaitable[None]) -> None:
        self._parts = parts

    def __await__(self) -> Generator[Any, None, None]:
        for part in self._parts:
            yield from part.__await__()
