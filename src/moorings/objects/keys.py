"""Keys of an object's storage: their limits, their order, and ranges of them. Pure.

A key is UTF-8 bytes everywhere below the user's API, so its order is that of its bytes whatever database sorts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

MAX_KEY_BYTES: Final = 2048
"""Source: developers.cloudflare.com/durable-objects/platform/limits/ (key and value: 2 MB)."""

Rows = Iterable[tuple[bytes, bytes]]


def encode_key(key: object) -> bytes:
    """The bytes of a key. Raises TypeError and ValueError, naming the key."""
    if not isinstance(key, str):
        raise TypeError(f"a storage key is a str, not {type(key).__name__} ({_shown(key)})")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the storage key {_shown(key)} has a lone surrogate, which UTF-8 has no form for") from None
    if not 0 < len(encoded) <= MAX_KEY_BYTES:
        raise ValueError(f"a storage key has 1 to {MAX_KEY_BYTES:,} bytes of UTF-8; {_shown(key)} has {len(encoded):,}")
    return encoded


def _shown(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, slots=True)
class Range:
    """The keys from ``start`` (included) to ``end`` (excluded; None: no bound), at most ``limit`` of them in order."""

    start: bytes
    end: bytes | None
    limit: int | None
    reverse: bool

    def holds(self, key: bytes) -> bool:
        """Whether ``key`` lies between the bounds."""
        return self.start <= key and (self.end is None or key < self.end)


def range_of(
    *, prefix: str | None, start: str | None, start_after: str | None, end: str | None, limit: int | None, reverse: bool
) -> Range:
    """The range that the options of ``list`` describe. Raises TypeError and ValueError where they make no sense."""
    if start is not None and start_after is not None:
        raise ValueError("list() takes start or start_after, not both")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"the limit of list() is a positive int, not {limit!r}")
    low = b""
    if start:
        low = encode_key(start)
    if start_after is not None:
        low = encode_key(start_after) + b"\0" if start_after else b""
    high = None if end is None else encode_key(end) if end else b""
    if prefix:
        first = encode_key(prefix)
        low, after = max(low, first), _after_prefix(first)
        high = after if high is None or (after is not None and after < high) else high
    return Range(low, high, limit, reverse)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The first key after all that begin with ``prefix``. UTF-8 has no byte 0xFF, so the last byte can always grow."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix[-1] < 0xFF else None


def overlaid(rows: Rows, overlay: Mapping[bytes, bytes | None], wanted: Range) -> dict[bytes, bytes]:
    """What ``list`` gives: stored rows under newer entries (None: deleted), in order, at most ``limit``.

    ``rows`` holds the first ``limit`` rows of the range and one more for each deleted entry in it, or all there are.
    """
    found = dict(rows)
    changed = False
    for key, data in overlay.items():
        if wanted.holds(key):
            changed = True
            if data is None:
                found.pop(key, None)
            else:
                found[key] = data
    if not changed:
        return found
    keys = sorted(found, reverse=wanted.reverse)[: wanted.limit]
    return {key: found[key] for key in keys}
