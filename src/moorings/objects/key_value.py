"""What ``get``, ``put``, ``delete`` and ``list`` mean, for the storage and for a transaction alike.

Both are *layers*: encoded values by encoded keys. Everything about arguments, copies and results is here, and only
here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from moorings.errors import StoreError
from moorings.objects.keys import Range, encode_key
from moorings.objects.pending import NOTHING, Started
from moorings.objects.values import decode, encode

MAX_VALUE_BYTES: Final = 2 * 2**20
"""Source: developers.cloudflare.com/durable-objects/platform/limits/ (2 MB for a key and its value)."""

UNSET: Final = object()


class Layer(Protocol):
    """Encoded keys and values, the newest first."""

    async def load(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there."""

    async def scan(self, wanted: Range) -> dict[bytes, bytes]:
        """The keys and values of a range, in its order."""

    def apply(self, entries: Mapping[bytes, bytes | None]) -> None:
        """Write values (None: delete), all of them together."""


async def get(layer: Layer, key: str | Iterable[str], default: Any) -> Any:
    """One value or ``default``; of several keys, a dict of those that are there, in the keys' order."""
    if isinstance(key, str):
        encoded = encode_key(key)
        data = (await layer.load((encoded,))).get(encoded)
        return default if data is None else _decoded(encoded, data)
    found = await layer.load([encode_key(each) for each in key])
    return {each.decode(): _decoded(each, found[each]) for each in sorted(found)}


def put(layer: Layer, key: str | Mapping[str, Any], value: Any) -> Awaitable[None]:
    """Write one value, or all of a mapping. Raises TypeError and ValueError before it writes anything."""
    if isinstance(key, Mapping):
        if value is not UNSET:
            raise TypeError("put() takes a key and a value, or one mapping")
        layer.apply({encode_key(each): _encoded(each, item) for each, item in key.items()})
    elif value is UNSET:
        raise TypeError("put() takes a key and a value, or one mapping")
    else:
        layer.apply({encode_key(key): _encoded(key, value)})
    return NOTHING


def delete(layer: Layer, key: str | Iterable[str]) -> Awaitable[bool] | Awaitable[int]:
    """Delete one key (was it there?) or several (how many were?), as of the call."""
    if isinstance(key, str):
        encoded = encode_key(key)
        existed = Started(_has(layer, encoded))
        layer.apply({encoded: None})
        return existed
    keys = dict.fromkeys([encode_key(each) for each in key])
    count = Started(_count(layer, list(keys)))
    layer.apply(keys)
    return count


async def listed(layer: Layer, wanted: Range) -> dict[str, Any]:
    """The values of a range, in its order."""
    return {key.decode(): _decoded(key, data) for key, data in (await layer.scan(wanted)).items()}


async def _has(layer: Layer, key: bytes) -> bool:
    return bool(await layer.load((key,)))


async def _count(layer: Layer, keys: Sequence[bytes]) -> int:
    return len(await layer.load(keys))


def _encoded(key: str, value: Any) -> bytes:
    data = encode(value, what=f"the value of storage key {key!r}")
    if len(data) > MAX_VALUE_BYTES:
        raise ValueError(
            f"the value of storage key {key!r} takes {len(data):,} bytes encoded, more than {MAX_VALUE_BYTES:,}"
        )
    return data


def _decoded(key: bytes, data: bytes) -> Any:
    try:
        return decode(data)
    except ValueError as error:
        raise StoreError(f"the value of storage key {key.decode()!r}: {error}") from error
