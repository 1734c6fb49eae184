"""WebSocket frames as they pass (RFC 6455, 5.2): where each ends, and nothing of what is in it.

Only headers are looked at. Payloads are neither gathered nor unmasked nor checked, and a malformed stream passes as it
is: its receiver is the one to refuse it.
"""

from __future__ import annotations

import os
from enum import IntEnum

_SHORT = 126  # payload lengths below this are in the second byte


class Opcode(IntEnum):
    """The opcodes that are written here."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8


class FrameTracker:
    """Follows one direction of a WebSocket.

    ``is_data``: the last frame looked at is no control frame. ``in_message``: a fragmented message is under way, so
    that no other message may come in between. ``closed``: a close frame has begun to pass.
    """

    __slots__ = ("_left", "_partial", "closed", "in_message", "is_data")

    def __init__(self) -> None:
        self._left = 0  # bytes of the frame in hand that follow its length
        self._partial = b""  # the beginning of a header
        self.is_data = False
        self.in_message = False
        self.closed = False

    @property
    def between_frames(self) -> bool:
        """Whether all that has passed are whole frames."""
        return not self._left and not self._partial

    @property
    def in_data(self) -> bool:
        """Whether what has passed last belongs to a data frame; a header that isn't whole doesn't tell yet."""
        return self.is_data and not self._partial

    def take(self, data: bytes) -> bool:
        """Follow all of ``data``; whether any of it belongs to a data frame."""
        size = len(data)
        if size > 1 and not self._left and not self._partial:
            second = data[1]
            length = second & 0x7F
            if length < _SHORT and size == (length + 6 if second & 0x80 else length + 2):  # one frame, and whole
                return self._begin(data[0])
        at = 0
        active = False
        while at < size:
            at = self.advance(data, at)
            active = active or self.in_data
        return active

    def advance(self, data: bytes, at: int) -> int:
        """Follow ``data`` from ``at`` to the end of the frame in hand, or of the data; returns where that is."""
        if not self._left:
            partial = self._partial
            head = partial + data[at : at + 10 - len(partial)]
            need = 2
            if len(head) >= 2:
                length = head[1] & 0x7F
                need = 2 if length < _SHORT else 4 if length == _SHORT else 10
            if len(head) < need:
                self._partial = head
                return len(data)
            at += need - len(partial)
            self._partial = b""
            length = head[1] & 0x7F if need == 2 else int.from_bytes(head[2:need], "big")
            self._left = length + 4 if head[1] & 0x80 else length
            self._begin(head[0])
        step = min(self._left, len(data) - at)
        self._left -= step
        return at + step

    def _begin(self, first: int) -> bool:
        opcode = first & 0x0F
        if opcode < 8:
            self.is_data = True
            self.in_message = first < 0x80
        else:
            self.is_data = False
            if opcode == Opcode.CLOSE:
                self.closed = True
        return self.is_data


def frame(opcode: Opcode, payload: bytes, *, mask: bytes = b"") -> bytes:
    """A whole frame; masked with four bytes where it goes to a server (RFC 6455, 5.3)."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < _SHORT:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, bit | _SHORT)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    if mask:
        payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
    return head + mask + payload


def new_mask() -> bytes:
    """An unpredictable masking key (RFC 6455, 10.3)."""
    return os.urandom(4)
