"""Deep copies, without a detour through bytes: small flat values are copied at the interpreter's own speed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from moorings.objects.values.records import enums, records
from moorings.objects.values.refusals import explain
from moorings.objects.values.types import ATOMS, MAX_DEPTH, Refused, check_zone


def copy_value(value: Any, *, what: str) -> Any:
    """A deep copy of ``value``; immutable values may be returned as they are.

    ``what`` names the value in errors: ``argument 'data' of SessionBackend.process_long_job``. Raises TypeError for a
    type that has no place in a copy, ValueError for a cycle and for nesting past ``MAX_DEPTH``.
    """
    if type(value) in ATOMS:
        return value
    try:
        return _copy(value, 0)
    except (Refused, RecursionError):
        error = explain(value, what, "sent")
    raise error


def _copy(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in enums or kind in ATOMS:
        return value
    if depth >= MAX_DEPTH:
        raise Refused
    copier = _COPIERS.get(kind)
    if copier is not None:
        return copier(value, depth + 1)
    record = records.get(kind)
    if record is not None:
        return record.cls(**{name: _copy(getattr(value, name), depth + 1) for name in record.fields})
    raise Refused


def _copy_datetime(value: datetime, depth: int) -> datetime:
    check_zone(value)
    return value


def _copy_list(value: list[Any], depth: int) -> list[Any]:
    copied = value.copy()
    if not ATOMS.issuperset(map(type, copied)):
        for index, item in enumerate(copied):
            if type(item) not in ATOMS:
                copied[index] = _copy(item, depth)
    return copied


def _copy_tuple(value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    return value if ATOMS.issuperset(map(type, value)) else tuple(_copy_list(list(value), depth))


def _copy_set(value: set[Any], depth: int) -> set[Any]:
    return value.copy() if ATOMS.issuperset(map(type, value)) else set(_copy_list(list(value), depth))


def _copy_frozenset(value: frozenset[Any], depth: int) -> frozenset[Any]:
    return value if ATOMS.issuperset(map(type, value)) else frozenset(_copy_list(list(value), depth))


def _copy_dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    if not ATOMS.issuperset(map(type, value)):
        return dict(zip(_copy_list(list(value), depth), _copy_list(list(value.values()), depth), strict=True))
    copied = value.copy()
    if not ATOMS.issuperset(map(type, copied.values())):
        for key, item in copied.items():
            if type(item) not in ATOMS:
                copied[key] = _copy(item, depth)
    return copied


_COPIERS: Final[dict[type, Callable[[Any, int], Any]]] = {
    datetime: _copy_datetime,
    list: _copy_list,
    tuple: _copy_tuple,
    dict: _copy_dict,
    set: _copy_set,
    frozenset: _copy_frozenset,
}
