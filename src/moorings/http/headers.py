"""Headers: a case-insensitive multidict that costs nothing until it is looked at.

A message from a connection arrives with one validated block of raw field lines (``RawFields``). Looking up a name
searches those bytes; a mapping is built only when somebody iterates or changes something. Bytes on the wire are latin-1
(RFC 9110, 5.5).

Invariant: ``Headers.changed`` is false as long as the raw block still says the same, so that it can be forwarded as it
is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar, overload

from multidict import CIMultiDict

T = TypeVar("T")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MEMO = 64  # names remembered per block


class Unset:
    """The type of an argument that was not given."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


class RawFields:
    """A validated block of field lines: ``raw`` begins with the CRLF before the first and ends with the empty line."""

    __slots__ = ("_low", "_memo", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._low: bytes | None = None
        self._memo: dict[str, str | None] = {}

    def first(self, name: str) -> str | None:
        """The first value of ``name`` (any case), without the whitespace around it."""
        memo = self._memo
        if name in memo:
            return memo[name]
        low = self._low
        if low is None:
            low = self._low = self.raw.lower()
        needle = b"\r\n%b:" % name.lower().encode("latin-1", "replace")
        start = low.find(needle)
        value = None
        if start >= 0:
            start += len(needle)
            value = self.raw[start : self.raw.find(b"\r\n", start)].strip(b" \t").decode("latin-1")
        if len(memo) >= _MEMO:
            memo.clear()
        memo[name] = value
        return value

    def pairs(self) -> list[tuple[str, str]]:
        """All fields in order, names as sent."""
        result = []
        for line in self.raw.decode("latin-1").split("\r\n"):
            if line:
                name, _, value = line.partition(":")
                result.append((name, value.strip(" \t")))
        return result


class Headers:
    """Header fields. The interface is that of ``multidict.CIMultiDict``; names and values are ``str``.

    Changing the headers of an incoming request raises TypeError: copy it with ``Request(request, headers=...)``. A name
    that is no token (RFC 9110, 5.1) or a value with a control character raises ValueError when it is set.
    """

    __slots__ = ("_map", "_raw", "changed", "frozen")

    def __init__(self, initial: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> None:
        self._raw: RawFields | None = None
        self._map: CIMultiDict[str] | None = CIMultiDict()
        self.changed = True
        self.frozen = False
        if initial is not None:
            self.extend(initial)

    @classmethod
    def from_wire(cls, raw: RawFields, *, frozen: bool) -> Headers:
        """The headers of a message that came off a connection."""
        self = cls.__new__(cls)
        self._raw = raw
        self._map = None
        self.changed = False
        self.frozen = frozen
        return self

    # --- looking

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...

    @overload
    def get(self, name: str, default: T) -> str | T: ...

    def get(self, name: str, default: T | None = None) -> str | T | None:
        """The first value of ``name``, else ``default``."""
        if self._map is None:
            assert self._raw is not None
            value = self._raw.first(name)
            return default if value is None else value
        return self._map.get(name, default)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def getone(self, name: str) -> str:
        """The first value of ``name``; KeyError if there is none."""
        return self[name]

    @overload
    def getall(self, name: str) -> list[str]: ...

    @overload
    def getall(self, name: str, default: T) -> list[str] | T: ...

    def getall(self, name: str, default: T | Unset = UNSET) -> list[str] | T:
        """All values of ``name`` in order; KeyError (or the default, if given) if there is none."""
        if name in self:
            return self._mapping().getall(name)
        if isinstance(default, Unset):
            raise KeyError(name)
        return default

    def items(self) -> list[tuple[str, str]]:
        """All fields in order, a repeated name once for each value."""
        if self._map is None:
            assert self._raw is not None
            return self._raw.pairs()
        return [(str(name), value) for name, value in self._map.items()]  # the map's names are of a type of its own

    def keys(self) -> list[str]:
        """All names in order, as they were sent or set."""
        return [name for name, _ in self.items()]

    def values(self) -> list[str]:
        """All values in order."""
        return list(self._mapping().values())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._mapping())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._mapping() == other._mapping()
        if isinstance(other, Mapping):
            return self._mapping() == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable, as every multidict is

    def __repr__(self) -> str:
        return f"Headers({self.items()!r})"

    def copy(self) -> Headers:
        """A copy that can be changed."""
        return Headers(self)

    # --- changing

    def add(self, name: str, value: str) -> None:
        """Add a field, keeping others of the same name."""
        checked(name, value)
        self._change().add(name, value)

    def __setitem__(self, name: str, value: str) -> None:
        checked(name, value)
        self._change()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._change()[name]

    def setdefault(self, name: str, value: str) -> str:
        """The first value of ``name``, which is set to ``value`` first if there is none."""
        if name not in self:
            self[name] = value
        return self[name]

    @overload
    def pop(self, name: str) -> str: ...

    @overload
    def pop(self, name: str, default: T) -> str | T: ...

    def pop(self, name: str, default: T | Unset = UNSET) -> str | T:
        """Remove the first field called ``name`` and return its value; KeyError (or the default) if there is none."""
        if name not in self and not isinstance(default, Unset):
            return default
        return self._change().popone(name)

    def popall(self, name: str) -> list[str]:
        """Remove every field called ``name`` and return their values; KeyError if there is none."""
        return self._change().popall(name)

    def extend(self, other: Headers | Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Add all fields of ``other``."""
        for name, value in pairs_of(other):
            self.add(name, value)

    def update(self, other: Headers | Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Set all fields of ``other``, replacing those of the same names."""
        new = pairs_of(other)
        for name, value in new:
            checked(name, value)
        self._change().update(new)

    def clear(self) -> None:
        """Remove everything."""
        self._change().clear()

    def _mapping(self) -> CIMultiDict[str]:
        if self._map is None:
            assert self._raw is not None
            self._map = CIMultiDict(self._raw.pairs())
        return self._map

    def _change(self) -> CIMultiDict[str]:
        if self.frozen:
            raise TypeError("an incoming request's headers can't be changed; copy it: Request(request, headers=...)")
        self.changed = True
        return self._mapping()


def pairs_of(headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of anything that may be given as headers."""
    if isinstance(headers, (Headers, Mapping)):
        return list(headers.items())
    return list(headers)


def checked(name: str, value: str) -> None:
    """Raise TypeError or ValueError unless this field can be sent."""
    if not all(isinstance(part, str) for part in (name, value)):
        raise TypeError(f"header names and values are str, not {name!r}: {value!r}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a header name")
    if _BAD_VALUE.search(value) is not None:
        raise ValueError(f"the value of header {name!r} has a control character")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of header {name!r} has a character outside latin-1") from None
