from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorings.objects.durable_object import DurableObject
from moorings.objects.identity import id_from_name, id_from_string, new_unique_id
from tests.unit.objects.support import namespace


class Room(DurableObject):
    pass


def test_the_id_of_a_name_is_the_same_forever() -> None:
    assert id_from_name("Room", "alice") == id_from_name("Room", "alice")
    assert str(id_from_name("Room", "alice")) == "16de3c9332957c819b33cd276a4c2a32c3355f5a3cfebc1757c17b9f65a60fc3"


def test_classes_and_names_never_share_an_id() -> None:
    assert id_from_name("Room", "alice") != id_from_name("Hall", "alice")
    assert id_from_name("Room", "alice") != id_from_name("Room", "bob")


@given(st.text(min_size=1, max_size=200))
def test_an_id_survives_its_hex_form(name: str) -> None:
    object_id = id_from_name("Room", name)
    assert id_from_string("Room", str(object_id)) == object_id
    assert hash(id_from_string("Room", str(object_id))) == hash(object_id)


def test_unique_ids_are_unique_and_have_no_name() -> None:
    ids = {new_unique_id("Room") for _ in range(100)}
    assert len(ids) == 100
    assert all(object_id.name is None for object_id in ids)


@pytest.mark.parametrize("name", ["", "x" * 1025, "é" * 513, "\ud800"])
def test_a_name_that_is_empty_too_long_or_no_unicode_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        namespace(Room).get_by_name(name)


@pytest.mark.parametrize("name", ["x" * 1024, "é" * 512, " ", "\n", "a/b?c#d", "\0"])
async def test_any_other_text_is_a_name(name: str) -> None:
    assert namespace(Room).get_by_name(name).name == name


@pytest.mark.parametrize("name", [None, 7, b"alice"])
def test_a_name_is_a_str(name: object) -> None:
    with pytest.raises(TypeError, match="a name is a str"):
        namespace(Room).get_by_name(name)  # type: ignore[arg-type]  # the wrong type is the point


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 63, "0x" + "a" * 62])
def test_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        id_from_string("Room", text)


def test_an_id_of_another_class_is_refused() -> None:
    for foreign in (id_from_name("Hall", "alice"), new_unique_id("Hall")):
        with pytest.raises(ValueError, match="is no id of a Room"):
            id_from_string("Room", str(foreign))
    assert id_from_string("Room", str(new_unique_id("Room"))).name is None


def test_get_takes_ids_only() -> None:
    with pytest.raises(TypeError, match="takes an id"):
        namespace(Room).get("alice")  # type: ignore[arg-type]  # the wrong type is the point


async def test_a_name_and_its_id_lead_to_the_same_object() -> None:
    rooms = namespace(Room)
    by_name = rooms.get_by_name("alice")
    by_id = rooms.get(rooms.id_from_string(str(by_name.id)))
    assert rooms.activate(by_name.id) is rooms.activate(by_id.id)
