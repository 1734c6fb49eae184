"""The tables of queues, and every statement on them.

A message is a row until it is acknowledged. ``seq`` is its place in its queue; ``due`` is 0 for a message that may be
delivered at once, else the Unix time from which it may; ``attempts`` counts deliveries, each before it begins;
``lease`` is the token of who has pulled it, until ``due``; ``source`` is the queue that a dead letter comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, Final

from moorings.store import Migration

MIGRATIONS: Final = (
    Migration(
        "queues",
        1,
        (
            """CREATE TABLE queues (
                 name TEXT PRIMARY KEY,
                 created_at REAL NOT NULL,
                 paused INTEGER NOT NULL
               )""",
            """CREATE TABLE queues_messages (
                 queue TEXT NOT NULL,
                 seq BIGINT NOT NULL,
                 id TEXT NOT NULL,
                 sent_at REAL NOT NULL,
                 due REAL NOT NULL,
                 attempts INTEGER NOT NULL,
                 content_type TEXT NOT NULL,
                 body BLOB NOT NULL,
                 lease TEXT,
                 source TEXT,
                 PRIMARY KEY (queue, seq)
               )""",
            "CREATE INDEX queues_messages_due ON queues_messages (queue, due, seq) WHERE due > 0",
        ),
    ),
)

COLUMNS: Final = "seq, id, sent_at, due, attempts, content_type, body, lease, source"

QUEUES: Final = "SELECT name, created_at, paused FROM queues ORDER BY name"
CREATE: Final = "INSERT INTO queues (name, created_at, paused) VALUES (?, ?, 0) ON CONFLICT (name) DO NOTHING"
SET_PAUSED: Final = "UPDATE queues SET paused = ? WHERE name = ?"

INSERT: Final = f"INSERT INTO queues_messages (queue, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LAST_SEQ: Final = "SELECT max(seq) FROM queues_messages WHERE queue = ?"
COUNT: Final = "SELECT count(*) FROM queues_messages WHERE queue = ?"
COUNT_DELAYED: Final = "SELECT count(*) FROM queues_messages WHERE queue = ? AND due > 0 AND due > ? AND lease IS NULL"
COUNT_LEASED: Final = (
    "SELECT count(*) FROM queues_messages WHERE queue = ? AND due > 0 AND due > ? AND lease IS NOT NULL"
)
OLDEST: Final = "SELECT sent_at FROM queues_messages WHERE queue = ? ORDER BY seq LIMIT 1"
FIRST: Final = f"SELECT {COLUMNS} FROM queues_messages WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
FRESH: Final = f"SELECT {COLUMNS} FROM queues_messages WHERE queue = ? AND due = 0 AND seq > ? ORDER BY seq LIMIT ?"
DUE: Final = (
    f"SELECT {COLUMNS} FROM queues_messages WHERE queue = ? AND due > 0 AND due <= ? "
    "AND (due > ? OR (due = ? AND seq > ?)) ORDER BY due, seq LIMIT ?"
)
NEXT_DUE: Final = (
    "SELECT min(due) FROM queues_messages WHERE queue = ? AND due > 0 AND (due > ? OR (due = ? AND seq > ?))"
)
PURGE: Final = "DELETE FROM queues_messages WHERE queue = ? AND seq <= ?"
EXPIRE: Final = "DELETE FROM queues_messages WHERE queue = ? AND sent_at <= ?"
OVERDRAWN: Final = (
    f"SELECT {COLUMNS} FROM queues_messages "
    "WHERE queue = ? AND due > 0 AND due <= ? AND lease IS NOT NULL AND attempts > ? ORDER BY due, seq LIMIT ?"
)
LEASED: Final = f"SELECT {COLUMNS} FROM queues_messages WHERE queue = ? AND seq = ? AND lease = ?"

_CHARGE = "UPDATE queues_messages SET attempts = attempts + 1 WHERE queue = ? AND "
_LEASE = "UPDATE queues_messages SET attempts = attempts + 1, due = ?, lease = ? WHERE queue = ? AND "
_POSTPONE = "UPDATE queues_messages SET due = ?, lease = NULL WHERE queue = ? AND "
_DELETE = "DELETE FROM queues_messages WHERE queue = ? AND "

_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Lengths of the lists in statements: few enough for each to stay prepared."""

Statement = tuple[str, Sequence[Any]]


def charge(queue: str, seqs: Sequence[int]) -> Iterator[Statement]:
    """The statements that count one more attempt of each message."""
    return _each(_CHARGE, (queue,), seqs)


def lease(queue: str, seqs: Sequence[int], *, until: float, token: str) -> Iterator[Statement]:
    """The statements that count one more attempt of each message, and hide it until then (Unix seconds)."""
    return _each(_LEASE, (until, token, queue), seqs)


def postpone(queue: str, seqs: Sequence[int], *, until: float) -> Iterator[Statement]:
    """The statements that hide messages until then (Unix seconds; 0 for not at all)."""
    return _each(_POSTPONE, (until, queue), seqs)


def delete(queue: str, seqs: Sequence[int]) -> Iterator[Statement]:
    """The statements that end messages."""
    return _each(_DELETE, (queue,), seqs)


def _each(sql: str, args: tuple[Any, ...], seqs: Sequence[int]) -> Iterator[Statement]:
    """A statement on several messages of a queue. Neighbours need no list: nothing else lies between them."""
    if not seqs:
        return
    ordered = sorted(seqs)
    if ordered[-1] - ordered[0] + 1 == len(ordered):
        yield sql + "seq >= ? AND seq <= ?", (*args, ordered[0], ordered[-1])
        return
    for start in range(0, len(ordered), _SIZES[-1]):
        part = ordered[start : start + _SIZES[-1]]
        size = next(size for size in _SIZES if size >= len(part))
        yield sql + _list_of(size), (*args, *part, *repeat(part[-1], size - len(part)))


@lru_cache(maxsize=len(_SIZES))
def _list_of(size: int) -> str:
    return f"seq IN ({', '.join(['?'] * size)})"
