"""From a document (what TOML or JSON gave) to a ``Configuration``, with every mistake in it found in one pass.

msgspec stops at the first mistake, so each leaf is converted by itself and the structs are put together here. What is
wrong is left out of the result, so that the rest can still be held against the worker's classes; where that would move
the elements of a list, an empty text, or a table of empty texts, keeps the place.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, time
from enum import Enum
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from moorings.config.schema import Configuration, Expect


class UnknownKeys(Enum):
    """What a key that the schema doesn't have is."""

    MISTAKE = "mistake"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Parsed:
    """``ignored`` has the paths of keys that mean nothing here, each once, with ``[]`` for any element of a list."""

    configuration: Configuration
    mistakes: tuple[str, ...]
    ignored: tuple[str, ...]


class _Wrong:
    """The value of a part with a mistake, which is told already."""


_WRONG: Final = _Wrong()
_PLAIN: Final = Expect("a value")
_TABLE: Final = Expect("a table")


def parse(document: Any, unknown: UnknownKeys) -> Parsed:
    """Read a document. Never raises: mistakes are in the result, in the order of the document."""
    reader = _Reader(unknown)
    configuration = reader.read(document, Configuration, "")
    if not isinstance(configuration, Configuration):
        configuration = Configuration()
    reader.mistakes += _told_twice(configuration)
    return Parsed(configuration, tuple(reader.mistakes), tuple(reader.ignored))


def shown(value: Any) -> str:
    """A value as a configuration file would have it, shortened."""
    text = value.isoformat() if isinstance(value, date | time) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(slots=True)
class _Reader:
    unknown: UnknownKeys
    mistakes: list[str] = field(default_factory=list)
    ignored: dict[str, None] = field(default_factory=dict)

    def read(self, value: Any, annotation: Any, path: str, expect: Expect = _TABLE) -> Any:
        """The value as ``annotation`` wants it, or ``_WRONG`` once the mistake is told."""
        kinds, expect = _unwrapped(annotation, expect)
        if value is None and type(None) in kinds:
            return None
        table = _table_among(kinds)
        if table is not None and isinstance(value, dict):
            return self._table(value, table, path)
        result = self._plain(value, kinds, path)
        if result is not _WRONG and expect.check is not None:
            try:
                expect.check(result)
            except (TypeError, ValueError):
                result = _WRONG
        if result is _WRONG:
            self._wrong(path, expect, shown(value))
        return result

    def _plain(self, value: Any, kinds: tuple[Any, ...], path: str) -> Any:
        for kind in kinds:
            if kind is Any:
                return value
            if get_origin(kind) is list and isinstance(value, list):
                return self._list(value, get_args(kind)[0], path)
            if get_origin(kind) is dict and isinstance(value, dict):
                _, element = get_args(kind)
                members = {key: self.read(item, element, _member(path, key)) for key, item in value.items()}
                return {key: item for key, item in members.items() if item is not _WRONG}
            if kind in (str, int, float, bool):
                try:
                    return msgspec.convert(value, kind)
                except msgspec.ValidationError:
                    continue
        return _WRONG

    def _list(self, value: list[Any], element: Any, path: str) -> list[Any]:
        vacant = _vacant(_unwrapped(element, _TABLE)[0])
        read = (self.read(item, element, f"{path}[{index}]") for index, item in enumerate(value))
        return [item for item in (vacant if item is _WRONG else item for item in read) if item is not _WRONG]

    def _table(self, value: dict[str, Any], table: type[msgspec.Struct], path: str) -> msgspec.Struct:
        fields = {each.encode_name: each for each in msgspec.structs.fields(table)}
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key not in fields:
                self._unknown_key(_member(path, key), key, list(fields))
                continue
            result = self.read(item, fields[key].type, _member(path, key), _PLAIN)
            if result is not _WRONG:
                found[fields[key].name] = result
        for key, each in fields.items():
            if each.required and key not in value:
                self._wrong(_member(path, key), _unwrapped(each.type, _PLAIN)[1], "nothing")
        return _vacant_table(table, **found)

    def _unknown_key(self, path: str, key: str, known: list[str]) -> None:
        if self.unknown is UnknownKeys.IGNORED:
            self.ignored[re.sub(r"\[\d+\]", "[]", path)] = None
            return
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(known)}"
        self.mistakes.append(f"{path}: unknown key; {hint}")

    def _wrong(self, path: str, expect: Expect, got: str) -> None:
        self.mistakes.append(f"{path or 'the file'}: expected {expect.text}, got {got}")


def _unwrapped(annotation: Any, default: Expect) -> tuple[tuple[Any, ...], Expect]:
    """The kinds of value that an annotation allows, and what it expects in words."""
    expect = default
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        expect = next((extra for extra in extras if isinstance(extra, Expect)), default)
    return (get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,)), expect


def _table_among(kinds: tuple[Any, ...]) -> type[msgspec.Struct] | None:
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)), None)


def _vacant(kinds: tuple[Any, ...]) -> Any:
    """What keeps the place of a wrong element."""
    table = _table_among(kinds)
    if table is not None:
        return _vacant_table(table)
    return "" if str in kinds else _WRONG


def _vacant_table(table: type[msgspec.Struct], **found: Any) -> msgspec.Struct:
    """A table of what was found; what must be there and isn't is an empty text."""
    empty = {each.name: "" for each in msgspec.structs.fields(table) if each.required}
    return table(**(empty | found))


def _member(path: str, key: str) -> str:
    name = key if re.fullmatch(r"[$\w-]+", key) else shown(key)
    return f"{path}.{name}" if path else name


def _told_twice(configuration: Configuration) -> Iterator[str]:
    """Mistakes between parts: a class with two entries, a name in ``env`` that is given to two things."""
    classes: dict[str, str] = {}
    for index, entry in enumerate(configuration.containers or ()):
        path, name = f"containers[{index}]", entry.class_name
        if name in classes:
            yield f"{path}.class_name: expected one entry for each class, {name} has {classes[name]} already"
        if name:
            classes.setdefault(name, path)
    names: dict[str, str] = {}
    for name, path in names_in_env(configuration):
        if name in names:
            yield f"{path}: expected a name of its own in env, {name} is that of {names[name]} already"
        if name:
            names.setdefault(name, path)


def names_in_env(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """The names in ``env`` that a configuration gives, with the paths where it does."""
    for name in configuration.vars or ():
        yield name, f"vars.{name}"
    if configuration.durable_objects is not None:
        for index, binding in enumerate(configuration.durable_objects.bindings or ()):
            yield binding.name, f"durable_objects.bindings[{index}].name"
    if configuration.queues is not None:
        for index, producer in enumerate(configuration.queues.producers or ()):
            yield producer.binding, f"queues.producers[{index}].binding"
    for index, workflow in enumerate(configuration.workflows or ()):
        yield workflow.binding, f"workflows[{index}].binding"
