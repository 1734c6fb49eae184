"""Bodies of messages as bytes, and back.

What a consumer reads equals what was sent: a body that its content type can't hold is refused at ``send``, with the
path to the part that doesn't fit, never changed on the way.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, Final

import msgspec

from moorings.errors import InvalidMessage, MessageTooLarge
from moorings.queues.limits import MESSAGE_BYTES, NESTED


class ContentType(StrEnum):
    """How a body is stored. Source: developers.cloudflare.com/queues/configuration/javascript-apis/#queuescontenttype

    Cloudflare's fourth, ``v8``, is a format of JavaScript's engine.
    """

    JSON = "json"
    TEXT = "text"
    BYTES = "bytes"


_PLAIN: Final = frozenset({str, int, bool, type(None)})


def _exact(value: Any) -> Any:
    """A text or a number of a subclass as what it is besides."""
    if isinstance(value, str):
        return str.__str__(value)
    return float.__float__(value) if isinstance(value, float) else int.__int__(value)


_encode: Final = msgspec.json.Encoder(enc_hook=_exact).encode
_decode: Final = msgspec.json.Decoder().decode


def content_type_of(name: object) -> ContentType:
    """The content type of a name. Raises InvalidMessage."""
    if isinstance(name, ContentType):
        return name
    if name == "v8":
        raise InvalidMessage(
            'content_type "v8" is a format of JavaScript\'s engine; send "json", or "bytes" of your own making'
        )
    try:
        return ContentType(str(name))
    except ValueError:
        raise InvalidMessage(f'content_type is "json", "text" or "bytes", not {name!r:.80}') from None


def encode(body: Any, content_type: ContentType, *, where: str = "body") -> bytes:
    """The bytes of a body. ``where`` names it in errors.

    Raises TypeError where the body isn't what its content type says, and MessageTooLarge.
    """
    if content_type is ContentType.JSON:
        check_json(body, where)
        try:
            data = _encode(body)
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
        except UnicodeEncodeError:
            raise TypeError(f"{where} holds a text with half a surrogate pair, which is no Unicode") from None
    elif content_type is ContentType.TEXT:
        if not isinstance(body, str):
            raise TypeError(f'{where} is {_named(body)}; content_type "text" takes a str')
        try:
            data = body.encode()
        except UnicodeEncodeError:
            raise TypeError(f"{where} holds half a surrogate pair, which is no Unicode") from None
    else:
        if not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f'{where} is {_named(body)}; content_type "bytes" takes bytes')
        data = bytes(body)
    if len(data) > MESSAGE_BYTES:
        raise MessageTooLarge(
            f"{where} has {len(data):,} bytes as {content_type}; a message has {MESSAGE_BYTES:,} at most: store what "
            "is larger elsewhere, and send where it is"
        )
    return data


def decode(data: bytes, content_type: ContentType) -> Any:
    """The body that ``encode`` made ``data`` of; tuples have become lists."""
    if content_type is ContentType.JSON:
        return _decode(data)
    return data.decode() if content_type is ContentType.TEXT else data


def check_json(value: Any, path: str) -> None:
    """Raises TypeError naming the path to the first part of ``value`` that is no JSON value."""
    _check(value, path, 0)


def _check(value: Any, path: str, depth: int) -> None:
    if type(value) in _PLAIN:
        return
    if depth >= NESTED and isinstance(value, dict | list | tuple):
        raise TypeError(f"{path:.80}...: the body is nested over {NESTED} levels deep, or contains itself")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{path} has the key {key!r:.80}; keys of a JSON object are texts")
            if type(item) not in _PLAIN:
                _check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                _check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{path} is {value!r}, which JSON doesn't have")
    elif not isinstance(value, str | int):
        hint = '; send it with content_type="bytes"' if isinstance(value, bytes | bytearray | memoryview) else ""
        raise TypeError(f"{path} is {_named(value)}, which is no JSON value{hint}")


def _named(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
