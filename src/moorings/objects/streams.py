"""What a platform method gives that has many values: iterated as it is, or after an ``await``, which changes nothing.

A stub's methods are awaited and a method on ``self`` may not be; a stream is the same either way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Stream(AsyncIterator[T], Generic[T]):
    """An async iterator that ``aclose`` ends early: whatever was going on for it ends then."""

    __slots__ = ("_values",)

    def __init__(self, values: AsyncGenerator[T, None]) -> None:
        self._values = values

    def __await__(self) -> Generator[Any, None, Stream[T]]:
        return self._itself().__await__()

    async def _itself(self) -> Stream[T]:
        return self

    def __aiter__(self) -> Stream[T]:
        return self

    async def __anext__(self) -> T:
        return await self._values.__anext__()

    async def aclose(self) -> None:
        """End it. Idempotent."""
        await self._values.aclose()

    async def __aenter__(self) -> Stream[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
