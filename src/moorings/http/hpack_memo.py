"""HPACK for connections that say the same again and again, as gRPC calls do (RFC 7541).

A field block that is made of references into the tables means the same as long as the dynamic table stays as it is. So
a block that didn't change the table is remembered with what it means, and forgotten when the table changes: decoding
or encoding it again costs a look-up instead of a walk through its fields.

Invariant: what is remembered is what the library would do now. Only the table's first entry and length are compared:
entries come in at the front and go out at the back, so any change shows in one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack.hpack import Decoder, Encoder
from hpack.struct import HeaderTuple
from hpack.table import HeaderTable

_BLOCKS = 64  # remembered per connection and direction
_SIZE = 1024  # bytes of a block that is remembered

_State = tuple[object, int, int]


def _state(table: HeaderTable) -> _State:
    entries = table.dynamic_entries
    return (entries[0] if entries else None, len(entries), table.maxsize)


def _same(one: _State, other: _State) -> bool:
    return one[0] is other[0] and one[1] == other[1] and one[2] == other[2]


class RepeatingEncoder(Encoder):
    """The library's encoder with a memory."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[Any, ...], bytes] = {}
        self._at: _State = _state(self.header_table)

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        """See Encoder."""
        fields = headers if isinstance(headers, list) else list(headers)
        if self.table_size_changes:
            return super().encode(fields, huffman)
        before = _state(self.header_table)
        if not _same(before, self._at):
            self._known.clear()
            self._at = before
        key = tuple(fields)
        block = self._known.get(key)
        if block is None:
            block = super().encode(fields, huffman)
            if len(block) <= _SIZE and _same(before, _state(self.header_table)) and _plain(fields):
                if len(self._known) >= _BLOCKS:
                    self._known.clear()
                self._known[key] = block
        return block


def _plain(fields: list[Any]) -> bool:
    """Whether equal fields are encoded alike: one that must never be indexed equals one that may."""
    return all(type(field) is tuple or (type(field) is HeaderTuple and field.indexable) for field in fields)


class RepeatingDecoder(Decoder):
    """The library's decoder with a memory."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[bytes, list[HeaderTuple]] = {}
        self._at: _State = _state(self.header_table)

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """See Decoder."""
        before = _state(self.header_table)
        if not raw or len(data) > _SIZE or self.header_table.maxsize > self.max_allowed_table_size:
            return super().decode(data, raw)
        if not _same(before, self._at):
            self._known.clear()
            self._at = before
        key = bytes(data)
        fields = self._known.get(key)
        if fields is None:
            fields = list(super().decode(data, raw))
            if _same(before, _state(self.header_table)):
                if len(self._known) >= _BLOCKS:
                    self._known.clear()
                self._known[key] = fields
        return list(fields)
