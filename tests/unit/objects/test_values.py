"""The one set of types that crosses an object's border, by RPC and into storage."""

from __future__ import annotations

import contextlib
import math
import socket
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorings.objects.values import MAX_DEPTH, copy_value, decode, encode, register_record


@register_record
class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@register_record
@dataclass(frozen=True, slots=True)
class Sample:
    status: Colour
    at: float
    payload: Any = None


@dataclass(frozen=True)
class Unregistered:
    x: int


class Text(str):
    __slots__ = ()


class OwnZone(tzinfo):
    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, dt: datetime | None) -> str:
        return "own"


Pair = namedtuple("Pair", "a b")


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type at all depths."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and sorted(map(shape, a)) == sorted(map(shape, b))
    if isinstance(a, datetime):
        zones = (a.tzinfo, b.tzinfo)
        return (
            a.replace(tzinfo=None) == b.replace(tzinfo=None)
            and a.fold == b.fold
            and type(zones[0]) is type(zones[1])
            and zones[0] == zones[1]
            and a.tzname() == b.tzname()
        )
    if isinstance(a, Sample):
        return same([a.status, a.at, a.payload], [b.status, b.at, b.payload])
    return bool(a == b)


def shape(value: Any) -> str:
    if isinstance(value, frozenset):
        return f"frozenset{sorted(map(shape, value))}"
    if isinstance(value, tuple):
        return f"tuple{list(map(shape, value))}"
    return f"{type(value).__name__} {value!r}"


zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.integers(-86_399_999_999, 86_399_999_999).map(lambda us: timezone(timedelta(microseconds=us))),
    st.builds(
        timezone, st.integers(-1439, 1439).map(lambda minutes: timedelta(minutes=minutes)), st.text(st.characters())
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]).map(ZoneInfo),
)
moments = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, st.sampled_from([0, 1])
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.sampled_from([2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**64, 2**64 - 1, -128, 127, 128, 255, 256]),
    st.floats(),
    st.text(st.characters()),  # lone surrogates too
    st.binary(),
    st.timedeltas(),
    st.sampled_from(Colour),
)
hashables: st.SearchStrategy[Any] = st.deferred(
    lambda: scalars | st.lists(hashables, max_size=3).map(tuple) | st.frozensets(hashables, max_size=3)
)
values: st.SearchStrategy[Any] = st.deferred(
    lambda: st.one_of(
        scalars,
        moments,
        st.lists(values, max_size=4),
        st.lists(values, max_size=4).map(tuple),
        st.dictionaries(st.text(st.characters()), values, max_size=4),
        st.dictionaries(hashables, values, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.builds(Sample, st.sampled_from(Colour), st.floats(), values),
    )
)


@given(values)
def test_a_copy_equals_its_original_in_value_and_type_at_every_depth(value: Any) -> None:
    assert same(copy_value(value, what="it"), value)


@given(values)
def test_a_stored_value_comes_back_equal_in_value_and_type_at_every_depth(value: Any) -> None:
    assert same(decode(encode(value, what="it")), value)


@given(values)
def test_a_copy_shares_nothing_mutable_with_its_original(value: Any) -> None:
    def mutable_parts(part: Any) -> list[Any]:
        if isinstance(part, dict):
            children = [*part, *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            children = list(part)
        else:
            children = [part.payload] if isinstance(part, Sample) else []
        found = [part] if isinstance(part, list | dict | set) else []
        return found + [deep for child in children for deep in mutable_parts(child)]

    copied = copy_value(value, what="it")
    assert not {id(part) for part in mutable_parts(value)} & {id(part) for part in mutable_parts(copied)}


@pytest.mark.parametrize(
    "value",
    [
        True,
        1,
        1.0,
        -0.0,
        math.inf,
        math.nan,
        "",
        "\ud83d\ude00",
        "\ud800",
        b"",
        (),
        [],
        {},
        set(),
        frozenset(),
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_edges_come_back_as_what_they_were(value: Any) -> None:
    for boxed in (value, [value], (value,), {"k": value}, {1: value}):
        assert same(decode(encode(boxed, what="it")), boxed)
        assert same(copy_value(boxed, what="it"), boxed)


def test_keys_that_differ_only_in_type_of_spelling_are_kept() -> None:
    value = {
        "1": "str",
        1: "int",
        b"1": "bytes",
        None: "none",
        (1,): "tuple",
        frozenset([1]): "frozenset",
        1.5: "float",
    }
    assert same(decode(encode(value, what="it")), value)
    assert same(copy_value(value, what="it"), value)


def test_the_same_part_twice_is_no_cycle() -> None:
    part = [1]
    assert copy_value([part, part], what="it") == [[1], [1]]
    assert decode(encode([part, part], what="it")) == [[1], [1]]


WHAT = "argument 'data' of SessionBackend.process_long_job"


def copying(value: Any) -> Any:
    return copy_value(value, what=WHAT)


def encoding(value: Any) -> Any:
    return encode(value, what=WHAT)


both = pytest.mark.parametrize("carry", [copying, encoding])


@both
@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(a=1),
        Text("x"),
        Pair(1, 2),
        bytearray(b"x"),
        memoryview(b"x"),
        date(2024, 1, 1),
        Decimal(1),
        uuid4(),
        Unregistered(1),
        object(),
        lambda: None,
        datetime(2024, 1, 1, tzinfo=OwnZone()),
        range(3),
        1j,
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_other_type_is_refused_wherever_it_sits(carry: Callable[[Any], Any], value: Any) -> None:
    for boxed in (value, [value], (value,), {"k": value}, [{"deep": ({1: value},)}], Sample(Colour.RED, 0.0, value)):
        with pytest.raises(TypeError, match=f"^{WHAT}: '{type(value).__name__}'"):
            carry(boxed)


def test_the_refusal_names_the_argument_the_type_the_place_and_what_to_do() -> None:
    with socket.socket() as connection, pytest.raises(TypeError) as refused:
        copying({"jobs": [1, {"via": connection}]})
    assert str(refused.value).startswith(
        f"{WHAT}: 'socket' values cannot be sent (at ['jobs'][1]['via']); use None, bool, int, "
    )
    with pytest.raises(TypeError, match=r"'OrderedDict' values cannot be stored; use dict\(value\)"):
        encoding(OrderedDict())
    with pytest.raises(TypeError, match=r"at key <tuple>\[1\]"):
        copying({(1, Text("x")): 1})


@both
def test_a_cycle_is_refused_in_a_sentence(carry: Callable[[Any], Any]) -> None:
    value: dict[str, Any] = {"list": []}
    value["list"].append(value)
    with pytest.raises(ValueError, match=r"process_long_job: it contains itself \(at \['list'\]\[0\]\)"):
        carry(value)


@both
def test_nesting_is_bounded_and_the_bound_itself_passes(carry: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    carry(value)
    with pytest.raises(ValueError, match=f"process_long_job: it is nested over {MAX_DEPTH} levels"):
        carry([value])


@both
def test_absurd_nesting_is_refused_without_a_recursion_error(carry: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(200_000):
        value = (value,)
    with pytest.raises(ValueError, match="nested over"):
        carry(value)
    while isinstance(value, tuple):  # freed bit by bit: a C stack is not for this
        (value,) = value


@both
def test_a_nearly_used_up_stack_gives_a_sentence_too(carry: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            carry(value)

    frame, used = sys._getframe(), 0
    while frame.f_back is not None:
        frame, used = frame.f_back, used + 1
    with pytest.raises(ValueError, match="nested too deep for the stack"):
        descend(sys.getrecursionlimit() - used - 100)


@pytest.mark.parametrize("data", [b"", b"\x09\xc0", b"\x01", b"\x01\xc7", b"\x01\xc0\xc0", b"\x02\x92\xc7\x00\x13\x01"])
def test_damaged_data_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="stored value"):
        decode(data)


@given(st.binary(max_size=40), st.sampled_from([b"\x01", b"\x02"]))
def test_arbitrary_bytes_decode_or_raise_a_value_error(data: bytes, form: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(form + data)


def test_a_record_of_an_unknown_name_is_a_value_error_that_says_so() -> None:
    data = encode(Sample(Colour.RED, 1.0), what="it").replace(b"Sample", b"Simple")
    with pytest.raises(ValueError, match="this version knows no record named Simple"):
        decode(data)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("0183a16101a162c3a163c0", {"a": 1, "b": True, "c": None}),
        ("01c70901010000000000000000", 2**64),
        ("01c70302eda080", "\ud800"),
        ("01d60493010203", timedelta(1, 2, 3)),
        (
            "01c7260393ba323032342d30312d30325430333a30343a30352e3030303030360092ced693a400c40178",
            datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=1), "x")),
        ),
        (
            "01c71a0393b3323032342d30312d30325430303a30303a303001a3555443",
            datetime(2024, 1, 2, fold=1, tzinfo=ZoneInfo("UTC")),
        ),
        ("0293c7001001a178", (1, "x")),
        ("0292c7001101", {1}),
        ("0292c7001201", frozenset([1])),
        ("0293c700130192c7001002", {1: (2,)}),
        (
            "0292c7061453616d706c6583a6737461747573c70c0592a6436f6c6f7572a3524544a26174cb3fe0000000000000a77061796c6f6164c0",
            Sample(Colour.RED, 0.5),
        ),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_earlier_versions_stored_stays_readable(stored: str, value: Any) -> None:
    assert same(decode(bytes.fromhex(stored)), value)


def test_only_frozen_dataclasses_and_enums_become_records() -> None:
    @dataclass
    class Loose:
        x: int

    with pytest.raises(TypeError, match="neither a frozen dataclass nor an Enum"):
        register_record(Loose)
    with pytest.raises(TypeError, match="neither"):
        register_record(object)
    with pytest.raises(ValueError, match="registered already"):
        register_record(Sample)
