from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorings.config import jsonc

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\/*,]}[{:\n a🜁'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='"\\/*,]} a'), inner),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("// first\n[1, /* second */ 2] // last", [1, 2]),
        ('{"a": 1, "b": [1, 2,], }', {"a": 1, "b": [1, 2]}),
        ("[1, // one\n /* none\n */ ]", [1]),
        ('["// no comment", "/* nor this */", ",]", "\\",}"]', ["// no comment", "/* nor this */", ",]", '",}']),
        ("/* a /* b */ 1", 1),
        ("1//", 1),
        ("/**/1", 1),
    ],
)
def test_comments_and_trailing_commas_are_left_out_and_strings_untouched(text: str, value: Any) -> None:
    assert jsonc.loads(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "[,]", "[1,,]", "{,}", "[1 2]", "/* open", "[1] /", "'a'", '"a\nb"', "{a: 1}", "[1]]", "NaN", "[-Infinity]"],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|JSON"):
        jsonc.loads(text)


def test_an_error_names_the_line_and_column_of_the_file() -> None:
    with pytest.raises(ValueError, match=r"line 4 column 8"):
        jsonc.loads('{ // one\n/* two\nthree */ "a": 1,\n  "b": nothing\n}')


@given(values)
def test_whatever_is_json_is_read_as_json(value: Any) -> None:
    for indent in (None, 1):
        assert jsonc.loads(json.dumps(value, indent=indent)) == value
        assert jsonc.loads(json.dumps(value, indent=indent, ensure_ascii=False)) == value
