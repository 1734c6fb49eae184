"""Which of the platform's own classes may cross, by their names.

The table is filled while modules are imported and never changes afterwards. A record's name, its fields' names and an
enum's member names are part of the stored format; a field added later needs a default.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TypeVar

_T = TypeVar("_T", bound=type)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A frozen dataclass and the names of its fields."""

    cls: type
    fields: tuple[str, ...]


records: dict[type, Record] = {}
enums: set[type] = set()
_by_name: dict[str, type] = {}


def register_record(cls: _T) -> _T:
    """Let values of ``cls`` cross; usable as a class decorator, at import time.

    ``cls`` is an Enum, or a frozen dataclass whose fields are all parameters of its constructor. Raises TypeError for
    anything else, ValueError where another class has the name.
    """
    name = cls.__name__
    if name in _by_name:
        raise ValueError(f"a record named {name} is registered already")
    if issubclass(cls, Enum):
        enums.add(cls)
    else:
        if not dataclasses.is_dataclass(cls) or not _is_frozen(cls):
            raise TypeError(f"{name} is neither a frozen dataclass nor an Enum")
        fields = dataclasses.fields(cls)
        if not all(field.init for field in fields):
            raise TypeError(f"{name} has fields that its constructor does not take")
        records[cls] = Record(cls, tuple(field.name for field in fields))
    _by_name[name] = cls
    return cls


def _is_frozen(cls: type) -> bool:
    return bool(getattr(cls, "__dataclass_params__").frozen)  # noqa: B009 - typeshed does not know the attribute


def class_named(name: str) -> type:
    """The class registered under ``name``. Raises ValueError where there is none."""
    cls = _by_name.get(name)
    if cls is None:
        raise ValueError(f"this version knows no record named {name}")
    return cls
