"""An explicit transaction over an object's keys: writes gather beside the storage until the closure has returned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload

from moorings.objects import key_value
from moorings.objects.key_value import UNSET
from moorings.objects.keys import Range, range_of

T = TypeVar("T")


class Base(Protocol):
    """The layer under a transaction."""

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...

    async def scan(self, wanted: Range, newer: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]: ...

    def apply(self, entries: Mapping[bytes, bytes | None]) -> None: ...


class Transaction:
    """What ``storage.transaction`` hands to its closure (Cloudflare: DurableObjectTransaction).

    Its methods are those of the storage. After the closure has returned, or after ``rollback``, they raise
    RuntimeError.
    """

    __slots__ = ("_base", "_open", "_writes")

    def __init__(self, base: Base) -> None:
        self._base = base
        self._writes: dict[bytes, bytes | None] = {}
        self._open = True

    @overload
    async def get(self, key: str, default: Any = None) -> Any: ...
    @overload
    async def get(self, key: Iterable[str]) -> dict[str, Any]: ...

    async def get(self, key: str | Iterable[str], default: Any = None) -> Any:
        """See Storage.get; the transaction's own writes come first."""
        return await key_value.get(self, key, default)

    @overload
    def put(self, key: str, value: Any) -> Awaitable[None]: ...
    @overload
    def put(self, key: Mapping[str, Any]) -> Awaitable[None]: ...

    def put(self, key: str | Mapping[str, Any], value: Any = UNSET) -> Awaitable[None]:
        """See Storage.put; nobody else sees it before the end."""
        return key_value.put(self, key, value)

    @overload
    def delete(self, key: str) -> Awaitable[bool]: ...
    @overload
    def delete(self, key: Iterable[str]) -> Awaitable[int]: ...

    def delete(self, key: str | Iterable[str]) -> Awaitable[bool] | Awaitable[int]:
        """See Storage.delete; nobody else sees it before the end."""
        return key_value.delete(self, key)

    async def list(
        self,
        *,
        prefix: str | None = None,
        start: str | None = None,
        start_after: str | None = None,
        end: str | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> dict[str, Any]:
        """See Storage.list; the transaction's own writes come first."""
        wanted = range_of(prefix=prefix, start=start, start_after=start_after, end=end, limit=limit, reverse=reverse)
        return await key_value.listed(self, wanted)

    def rollback(self) -> None:
        """Drop everything the transaction wrote, and end it."""
        self._check()
        self._writes.clear()
        self._open = False

    # --- the layer ----------------------------------------------------------------------------------------------

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self._check()
        found = await self._base.load([key for key in keys if key not in self._writes])
        for key in keys:
            data = self._writes.get(key)
            if data is not None:
                found[key] = data
        return found

    async def scan(self, wanted: Range) -> dict[bytes, bytes]:
        self._check()
        return await self._base.scan(wanted, self._writes)

    def apply(self, entries: Mapping[bytes, bytes | None]) -> None:
        self._check()
        self._writes.update(entries)

    def _check(self) -> None:
        if not self._open:
            raise RuntimeError("this transaction has ended: it was rolled back, or its closure has returned")

    async def run(self, closure: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run the closure and apply what it wrote, where it returns."""
        try:
            result = await closure(self)
            if self._writes:
                self._base.apply(self._writes)
        finally:
            self._open = False
        return result
