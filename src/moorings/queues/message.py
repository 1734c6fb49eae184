"""One message as the platform holds it."""

from __future__ import annotations

from dataclasses import dataclass

from moorings.queues.bodies import ContentType
from moorings.store import Row


@dataclass(slots=True)
class StoredMessage:
    """A row of ``queues_messages``, in memory. Times are in Unix seconds; ``due`` is 0 where there was no delay.

    Only ``attempts`` and ``due`` change, by whoever delivers the message, in the row and here.
    """

    seq: int
    id: str
    sent_at: float
    due: float
    attempts: int
    content_type: ContentType
    body: bytes
    lease: str | None = None
    source: str | None = None


def message_of(row: Row) -> StoredMessage:
    """A message from the columns that ``tables.COLUMNS`` names."""
    seq, id_, sent_at, due, attempts, content_type, body, lease, source = row
    return StoredMessage(seq, id_, sent_at, due, attempts, ContentType(content_type), body, lease, source)
