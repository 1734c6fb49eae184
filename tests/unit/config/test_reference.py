"""The reference and the schema say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

from moorings.config.file import find_config
from moorings.config.schema import Configuration

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def structs(annotation: object) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The structs in an annotation, with ``[]`` where they are elements of a list."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation, ""
        return
    for part in get_args(annotation):
        for struct, suffix in structs(part):
            yield struct, suffix + ("[]" if getattr(annotation, "__origin__", None) is list else "")


def keys(struct: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """The keys of a struct that have a value of their own, and those below them."""
    for field in msgspec.structs.fields(struct):
        below = list(structs(field.type))
        if not below or below[0][1] or len(get_args(get_args(field.type)[0])) > 2:
            yield path + field.encode_name
        for inner, suffix in below:
            yield from keys(inner, f"{path}{field.encode_name}{suffix}.")


def test_every_key_of_the_schema_is_in_the_reference_and_no_other() -> None:
    table = PAGE.read_text().split("## All keys")[1].split("## Who wins")[0]
    written = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert written == sorted(set(written), key=written.index)
    assert set(written) == set(keys(Configuration))


def test_the_example_of_the_reference_has_no_mistake(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n# moorings.toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "moorings.toml").write_text(example)
    config = find_config(tmp_path)
    assert config is not None
    assert config.mistakes == config.warnings == ()
