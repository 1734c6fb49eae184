"""The limits of queues, and the checks that everything that comes in goes through.

Source: developers.cloudflare.com/queues/platform/limits/ (1 KB is 1,000 bytes there, and here).
"""

from __future__ import annotations

from typing import Final

from moorings.errors import InvalidMessage

MESSAGE_BYTES: Final = 128_000
"""The body of a message, at most."""

BATCH_MESSAGES: Final = 100
"""Messages of one ``send_batch``, of one delivery and of one pull, at most."""

BATCH_BYTES: Final = 256_000
"""The bodies of one ``send_batch`` together, at most."""

NESTED: Final = 200
"""Levels of lists and objects in a JSON body, at most: how deep Python can read depends on who reads."""

LONGEST_DELAY: Final = 43_200
"""Seconds that a message may be delayed: 12 hours."""

RETENTION: Final = 345_600
"""Seconds that a message is kept unless its queue says otherwise: 4 days."""

NAME_LENGTH: Final = 63
"""Characters of a queue's name, at most."""


def checked_delay(delay_seconds: object) -> float | None:
    """A delay in seconds; None where none is said. Raises InvalidMessage for anything but 0 to LONGEST_DELAY."""
    if delay_seconds is None:
        return None
    if isinstance(delay_seconds, bool) or not isinstance(delay_seconds, int | float):
        raise InvalidMessage(f"delay_seconds is a number of seconds, not {type(delay_seconds).__name__}")
    if not 0 <= delay_seconds <= LONGEST_DELAY:  # neither is NaN
        raise InvalidMessage(f"delay_seconds is from 0 to {LONGEST_DELAY} (12 hours), not {delay_seconds!r}")
    return float(delay_seconds)
