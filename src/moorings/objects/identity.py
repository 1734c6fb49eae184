"""Names and ids.

An id is 32 bytes, shown as 64 hex digits. The id of a name is a hash of the class's name and the name, so it is the
same on every machine forever; nothing needs to be stored to find it again. The first byte decides the shard, the
last eight are a mark of the class, so that an id of one class is never taken for another's.
"""

from __future__ import annotations

import hashlib
import secrets

MAX_NAME_BYTES = 1024

MARK_BYTES = 8
"""How many bytes at an id's end tell which class it belongs to."""


class ObjectId:
    """The identity of one object of one class. ``name`` is known where the id was made from a name."""

    __slots__ = ("name", "raw")

    def __init__(self, raw: bytes, name: str | None = None) -> None:
        self.raw = raw
        self.name = name

    def __str__(self) -> str:
        return self.raw.hex()

    def __repr__(self) -> str:
        return f"ObjectId({self.raw.hex()!r}, name={self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectId) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def equals(self, other: ObjectId) -> bool:
        """The same as ``==``, under the name that Cloudflare gives it."""
        return self == other


def check_name(name: str) -> bytes:
    """The name's UTF-8 bytes. Raises TypeError or ValueError where it can't be a name."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise ValueError("a name must be valid Unicode: it has a lone surrogate") from None
    if not 0 < len(encoded) <= MAX_NAME_BYTES:
        raise ValueError(f"a name has 1 to {MAX_NAME_BYTES} bytes of UTF-8, this one has {len(encoded)}")
    return encoded


def id_from_name(class_name: str, name: str) -> ObjectId:
    """The id of a name within a class: a hash of both, the same forever."""
    encoded = check_name(name)
    return ObjectId(_marked(class_name, hashlib.sha256(class_name.encode() + b"\0" + encoded).digest()), name)


def id_from_string(class_name: str, text: str) -> ObjectId:
    """An id of that class from its 64 hex digits. Raises TypeError or ValueError, also for an id of another class."""
    if not isinstance(text, str):
        raise TypeError(f"an id is a str of 64 hex digits, not {type(text).__name__}")
    if len(text) != 64 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        raise ValueError(f"an id has 64 hex digits, not {text[:80]!r}")
    raw = bytes.fromhex(text)
    object_id = ObjectId(raw)
    check_class(class_name, object_id)
    return object_id


def check_class(class_name: str, object_id: ObjectId) -> None:
    """Raises ValueError where the id's mark is that of another class."""
    if object_id.raw != _marked(class_name, object_id.raw):
        raise ValueError(f"{object_id} is no id of a {class_name}: each class has ids of its own")


def new_unique_id(class_name: str) -> ObjectId:
    """A random id that no name has."""
    return ObjectId(_marked(class_name, secrets.token_bytes(32)))


def _marked(class_name: str, raw: bytes) -> bytes:
    body = raw[:-MARK_BYTES]
    return body + hashlib.sha256(b"class\0" + class_name.encode() + b"\0" + body).digest()[:MARK_BYTES]
