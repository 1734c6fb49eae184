"""Sentences about values that can't cross: the culprit's type, where it sits, and what to use instead.

This walk is the slow one: it runs only after a fast one has refused, and it uses no recursion, so that it can speak
about cycles and about nesting that would overflow the stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from moorings.objects.values.records import enums, records
from moorings.objects.values.types import ATOMS, CONTAINERS, MAX_DEPTH, Refused, check_zone

_SUPPORTED: Final = (
    "use None, bool, int, float, str, bytes, datetime, timedelta, list, tuple, dict, set or frozenset, "
    "or send an identifier that the other side can look up"
)
_SHOWN_PATH: Final = 8

_REPLACEMENTS: Final[tuple[tuple[type, str], ...]] = (
    (Enum, "use its .value"),
    (bytearray, "use bytes(value)"),
    (memoryview, "use bytes(value)"),
    (datetime, "use a plain datetime"),
    (date, "use a datetime, or its .isoformat()"),
    (Decimal, "use str(value)"),
    (UUID, "use str(value)"),
    (int, "use int(value): subclasses would not come back as themselves"),
    (float, "use float(value): subclasses would not come back as themselves"),
    (str, "use str(value): subclasses would not come back as themselves"),
    (bytes, "use bytes(value): subclasses would not come back as themselves"),
    (list, "use list(value): subclasses would not come back as themselves"),
    (tuple, "use tuple(value): subclasses would not come back as themselves"),
    (dict, "use dict(value): subclasses would not come back as themselves"),
    (set, "use set(value): subclasses would not come back as themselves"),
    (frozenset, "use frozenset(value): subclasses would not come back as themselves"),
)


def explain(value: Any, what: str, verb: str) -> TypeError | ValueError:
    """The error about ``value``, which a walk has refused; ``verb`` says what was tried with it: sent, stored."""
    path: list[str] = []
    open_containers = [value]
    branches = [_children(value)]
    problem = _problem(value, verb)
    while problem is None and branches:
        step, child = next(branches[-1], (None, None))
        if step is None:
            branches.pop()
            open_containers.pop()
            if path:
                path.pop()
            continue
        path.append(step)
        problem = _problem(child, verb)
        if problem is None and any(child is container for container in open_containers):
            return ValueError(f"{what}: it contains itself{_where(path)}, and cycles cannot be {verb}")
        if problem is None and len(branches) >= MAX_DEPTH and _nests(child):
            return ValueError(f"{what}: it is nested over {MAX_DEPTH} levels deep, which cannot be {verb}")
        open_containers.append(child)
        branches.append(_children(child))
    if problem is None:  # the walk that refused ran out of the caller's stack
        return ValueError(f"{what}: it is nested too deep for the stack left here, and cannot be {verb}")
    sentence, advice = problem
    return TypeError(f"{what}: {sentence}{_where(path)}; {advice}")


def _where(path: list[str]) -> str:
    if not path:
        return ""
    shown = "".join(path) if len(path) <= _SHOWN_PATH else "".join(["...", *path[-_SHOWN_PATH:]])
    return f" (at {shown.lstrip()})"


def _problem(value: Any, verb: str) -> tuple[str, str] | None:
    kind = type(value)
    if kind in ATOMS or kind in CONTAINERS or kind in records or kind in enums:
        return None
    if kind is datetime:
        try:
            check_zone(value)
        except Refused:
            zone = type(value.tzinfo).__qualname__
            return (
                f"'datetime' values with a zone of type '{zone}' cannot be {verb}",
                "use datetime.timezone or zoneinfo.ZoneInfo",
            )
        return None
    advice = next((advice for base, advice in _REPLACEMENTS if issubclass(kind, base)), _SUPPORTED)
    return f"'{kind.__qualname__}' values cannot be {verb}", advice


def _nests(value: Any) -> bool:
    return type(value) in CONTAINERS or type(value) in records


def _children(value: Any) -> Iterator[tuple[str | None, Any]]:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            yield f" key {_short(key)}", key
            yield f"[{_short(key)}]", item
    elif kind is list or kind is tuple:
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif kind is set or kind is frozenset:
        for item in value:
            yield f" member {_short(item)}", item
    elif kind in records:
        for name in records[kind].fields:
            yield f".{name}", getattr(value, name)


def _short(value: Any) -> str:
    if type(value) not in ATOMS:
        return f"<{type(value).__qualname__}>"
    text = (
        repr(value[:40] if isinstance(value, (str, bytes)) else value) if not isinstance(value, int) else _digits(value)
    )
    return text if len(text) <= 44 else text[:40] + "..."


def _digits(value: int) -> str:
    return repr(value) if value.bit_length() < 128 else "a large int"
