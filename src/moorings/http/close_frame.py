"""Close frames of WebSockets: which codes and reasons may be sent (RFC 6455, 5.5.1 and 7.4)."""

from __future__ import annotations

GOING_AWAY = 1001
GOING_AWAY_REASON = "going away"
TRY_AGAIN_LATER = 1013

_SENDABLE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame. ValueError for a code that can't be sent, or a reason over 123 bytes of UTF-8."""
    if code not in _SENDABLE and not 3000 <= code <= 4999:
        raise ValueError(f"{code} can't be sent as a close code: use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    encoded = reason.encode()
    if len(encoded) > 123:
        raise ValueError(f"the reason of a close frame is at most 123 bytes of UTF-8, not {len(encoded)}")
    return code.to_bytes(2, "big") + encoded
