"""Values that must be JSON: results of steps, parameters, payloads.

What is read back equals what was written, but for a tuple, which comes back as a list. Anything that JSON would bend
more than that (other keys than texts, dates, NaN) is refused with the place where it sits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

_ATOMS: Final[tuple[type, ...]] = (str, int, bool, type(None))
_DEEPEST: Final = 200

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def encode_json_value(value: Any, what: str) -> str:
    """``value`` as JSON. Raises TypeError, or ValueError (NaN, nesting), which begin with ``what``."""
    if type(value) not in _ATOMS:
        _check(value, what)
    text = _encode(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what}: it has half of a surrogate pair, which is no text") from None
    return text


def _check(value: Any, what: str) -> None:
    """Walk the value without recursion; the path is built only where something is refused."""
    path: list[str] = []
    open_branches: list[Iterator[tuple[str, Any]]] = [iter([("", value)])]
    while open_branches:
        branch = next(open_branches[-1], None)
        if branch is None:
            open_branches.pop()
            if path:
                path.pop()
            continue
        step, item = branch
        kind: type = type(item)
        if kind in _ATOMS:
            continue
        path.append(step)
        if kind is float:
            if not math.isfinite(item):
                raise ValueError(f"{what}: {item} is no number in JSON{_where(path)}")
            path.pop()
        elif kind is dict:
            for key in item:
                if type(key) is not str:
                    raise TypeError(
                        f"{what}: the key {key!r:.40} is no text{_where(path)}; JSON has texts as keys only"
                    )
            open_branches.append(_entries(item))
        elif kind is list or kind is tuple:
            open_branches.append(_items(item))
        else:
            raise TypeError(
                f"{what}: {kind.__qualname__!r} values are no JSON{_where(path)}; "
                "use None, bool, int, float, str, and lists and dicts of those"
            )
        if len(open_branches) > _DEEPEST:
            raise ValueError(f"{what}: it is nested over {_DEEPEST} levels deep, or contains itself")


def _entries(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        yield f"[{key!r:.40}]", item


def _items(value: list[Any] | tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(value):
        yield f"[{index}]", item


def _where(path: list[str]) -> str:
    shown = "".join(path[-8:])
    return f" (at {shown})" if shown else ""
