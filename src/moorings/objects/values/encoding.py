"""Values as bytes: what storage, queues and journals keep.

One format byte, then MessagePack. ``PLAIN`` needs no second look after decoding. In ``TAGGED``, an array that begins
with a marker (an extension type, which no user's value can be) stands for the container or record that the marker
names. Formats and extension codes are durable: a number is never given a second meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from moorings.objects.values.records import class_named, enums, records
from moorings.objects.values.refusals import explain
from moorings.objects.values.types import ATOMS, MAX_DEPTH, NATIVE, STR, Refused, check_zone

_PLAIN: Final = b"\x01"
_TAGGED: Final = b"\x02"

_BIGINT: Final = 1  # two's complement, big-endian
_TEXT: Final = 2  # UTF-8 that may hold lone surrogates
_DATETIME: Final = 3  # [ISO 8601 without zone, fold, zone]
_TIMEDELTA: Final = 4  # [days, seconds, microseconds]
_ENUM: Final = 5  # [class, member]
_TUPLE: Final = 16
_SET: Final = 17
_FROZENSET: Final = 18
_DICT: Final = 19  # keys and values in turn, where a key is not a plain str
_RECORD: Final = 20  # the class's name in the marker; one item, a map of the fields

_Ext: Final = msgspec.msgpack.Ext
_pack: Final = msgspec.msgpack.Encoder().encode


def encode(value: Any, *, what: str) -> bytes:
    """``value`` as bytes that ``decode`` turns into an equal value of equal types, in this and in later versions.

    ``what`` names the value in errors. Raises TypeError for a type that has no place in a copy, ValueError for a
    cycle and for nesting past ``MAX_DEPTH``.
    """
    kind = type(value)
    if (
        kind in NATIVE
        or (kind is list and NATIVE.issuperset(map(type, value)))
        or (kind is dict and STR.issuperset(map(type, value)) and NATIVE.issuperset(map(type, value.values())))
    ):
        try:
            return _PLAIN + _pack(value)
        except (OverflowError, UnicodeEncodeError):
            pass  # an int past 64 bits, or a lone surrogate: lowering knows them
    lowering = _Lowering()
    try:
        packed = _pack(lowering.lower(value, 0))
    except (Refused, RecursionError):
        error = explain(value, what, "stored")
    else:
        return (_TAGGED if lowering.tagged else _PLAIN) + packed
    raise error


class _Lowering:
    """Turns a value into one that MessagePack keeps exactly, and notes whether markers were needed."""

    __slots__ = ("tagged",)

    def __init__(self) -> None:
        self.tagged = False

    def lower(self, value: Any, depth: int) -> Any:
        kind = type(value)
        lowerer = _SCALARS.get(kind)
        if lowerer is not None:
            return lowerer(value)
        if kind in enums:
            return _Ext(_ENUM, _pack([kind.__name__, value.name]))
        if depth >= MAX_DEPTH:
            raise Refused
        if kind is dict:
            return self._dict(value, depth + 1)
        if kind is list:
            return self._items([], value, depth + 1)
        marker = _MARKER_OF.get(kind)
        if marker is not None:
            self.tagged = True
            return self._items([marker], value, depth + 1)
        record = records.get(kind)
        if record is not None:
            self.tagged = True
            fields = {name: self.lower(getattr(value, name), depth + 1) for name in record.fields}
            return [_Ext(_RECORD, kind.__name__.encode()), fields]
        raise Refused

    def _items(self, lowered: list[Any], items: Iterable[Any], depth: int) -> list[Any]:
        for item in items:
            lowered.append(self.lower(item, depth))
        return lowered

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if STR.issuperset(map(type, value)) and all(map(_encodable, value)):
            return dict(zip(value, self._items([], value.values(), depth), strict=True))
        self.tagged = True
        return self._items([_Ext(_DICT, b"")], (part for pair in value.items() for part in pair), depth)


def _lower_int(value: int) -> Any:
    if -(2**63) <= value < 2**64:
        return value
    return _Ext(_BIGINT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _lower_str(value: str) -> Any:
    return value if _encodable(value) else _Ext(_TEXT, value.encode("utf-8", "surrogatepass"))


def _lower_datetime(value: datetime) -> Any:
    check_zone(value)
    zone: Any = value.tzinfo
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        own_name = None if name == timezone(offset).tzname(None) else name.encode("utf-8", "surrogatepass")
        zone = [offset // timedelta(microseconds=1), own_name]
    elif type(zone) is ZoneInfo:
        zone = zone.key
    return _Ext(_DATETIME, _pack([value.replace(tzinfo=None, fold=0).isoformat(), value.fold, zone]))


def _lower_timedelta(value: timedelta) -> Any:
    return _Ext(_TIMEDELTA, _pack([value.days, value.seconds, value.microseconds]))


def _same(value: Any) -> Any:
    return value


def _encodable(text: str) -> bool:
    """Whether UTF-8 has a form for ``text`` (it has none for lone surrogates)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_SCALARS: Final[dict[type, Callable[[Any], Any]]] = {
    **dict.fromkeys(NATIVE, _same),
    int: _lower_int,
    str: _lower_str,
    datetime: _lower_datetime,
    timedelta: _lower_timedelta,
}
_MARKER_OF: Final[dict[type, msgspec.msgpack.Ext]] = {
    tuple: _Ext(_TUPLE, b""),
    set: _Ext(_SET, b""),
    frozenset: _Ext(_FROZENSET, b""),
}


_NEWER: Final = "a newer version wrote it, or it is damaged"


# --- decoding -------------------------------------------------------------------------------------------------------


class _Marker:
    """What the rest of an array is to be built into."""

    __slots__ = ("build",)

    def __init__(self, build: Callable[[list[Any]], Any]) -> None:
        self.build = build


def decode(data: bytes) -> Any:
    """The value that ``encode`` made ``data`` from; a fresh one at every call.

    Raises ValueError where ``data`` is damaged, or was written by a version that knows more.
    """
    kind = data[:1]
    if kind not in (_PLAIN, _TAGGED):
        raise ValueError(f"a stored value has the unknown format '{kind.hex()}': {_NEWER}")
    try:
        value = _unpack(memoryview(data)[1:])
        return value if kind == _PLAIN else _raise(value)
    except (msgspec.DecodeError, TypeError, LookupError, OverflowError, ValueError) as error:
        raise ValueError(f"a stored value cannot be read: {error}") from error


def _raise(value: Any) -> Any:
    """Build what the markers stand for, in place where the container stays a list or a dict."""
    kind = type(value)
    if kind is list:
        for index, item in enumerate(value):
            if type(item) not in ATOMS:
                value[index] = _raise(item)
        if value and type(value[0]) is _Marker:
            return value[0].build(value[1:])
    elif kind is dict:
        for key, item in value.items():
            if type(item) not in ATOMS:
                value[key] = _raise(item)
    return value


def _read_ext(code: int, data: memoryview) -> Any:
    reader = _READERS.get(code)
    if reader is None:
        raise ValueError(f"unknown part {code}: {_NEWER}")
    return reader(data)


_unpack: Final[Callable[[bytes | memoryview], Any]] = msgspec.msgpack.Decoder(ext_hook=_read_ext).decode


def _text(data: memoryview | bytes) -> str:
    return str(data, "utf-8", "surrogatepass")


def _read_datetime(data: memoryview) -> datetime:
    local, fold, zone = _unpack(data)
    value = datetime.fromisoformat(local).replace(fold=fold)
    if zone is None:
        return value
    if type(zone) is str:
        return value.replace(tzinfo=ZoneInfo(zone))
    offset = timedelta(microseconds=zone[0])
    return value.replace(tzinfo=timezone(offset) if zone[1] is None else timezone(offset, _text(zone[1])))


def _read_enum(data: memoryview) -> Enum:
    name, member = _unpack(data)
    cls = class_named(name)
    if not issubclass(cls, Enum):
        raise TypeError(f"{name} is not an Enum")
    found = cls[member]
    assert isinstance(found, Enum)
    return found


def _read_record(data: memoryview) -> _Marker:
    cls = class_named(_text(data))
    return _Marker(lambda items: cls(**items[0]))


def _build_dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _always(marker: _Marker) -> Callable[[memoryview], _Marker]:
    return lambda data: marker


_READERS: Final[dict[int, Callable[[memoryview], Any]]] = {
    _BIGINT: lambda data: int.from_bytes(data, "big", signed=True),
    _TEXT: _text,
    _DATETIME: _read_datetime,
    _TIMEDELTA: lambda data: timedelta(*_unpack(data)),
    _ENUM: _read_enum,
    _TUPLE: _always(_Marker(tuple)),
    _SET: _always(_Marker(set)),
    _FROZENSET: _always(_Marker(frozenset)),
    _DICT: _always(_Marker(_build_dict)),
    _RECORD: _read_record,
}
