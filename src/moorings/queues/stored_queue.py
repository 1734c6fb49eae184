"""One queue in the store: the only place that writes its messages.

Invariants: what one call writes in one turn of the event loop is stored as a whole or not at all. Whoever listens is
told of messages after they are durable, never before. A message whose end is written and not durable yet is in
``leaving``: reads still find it, and it must not be handed out or ended again. A write that fails ends the group; the
next one takes a new group, and the listener is told to go back to what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

from moorings.errors import StoreError
from moorings.queues import tables
from moorings.queues.bodies import ContentType
from moorings.queues.message import StoredMessage, message_of
from moorings.store import Commit, Group, Store


class Listener(Protocol):
    """Who delivers a queue's messages."""

    def arrived(self, messages: Sequence[StoredMessage]) -> None:
        """Messages are durable that were sent, or put off. Must not raise."""

    def lost(self) -> None:
        """Writes were not stored: what is in memory counts no more. Must not raise."""


class StoredQueue:
    """The rows of one queue. ``last_seq`` is the highest place in it that was ever given since the platform's start."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        created_at: float,
        exists: bool,
        paused: bool,
        last_seq: int,
        make_id: Callable[[], str],
        failed: Callable[[StoreError], None],
    ) -> None:
        self._store = store
        self._make_id = make_id
        self._failed = failed
        self._group: Group | None = None
        self._unit: Commit | None = None
        self._unit_messages: list[StoredMessage] = []
        self._exists = exists
        self.name = name
        self.created_at = created_at
        self.paused = paused
        self.last_seq = last_seq
        self.listener: Listener | None = None
        self.leaving: set[int] = set()

    # --- writing ------------------------------------------------------------------------------------------------------

    def send(self, bodies: Iterable[tuple[ContentType, bytes, float]], now: float) -> Commit:
        """Add messages: the type and the bytes of each, and its delay in seconds. Raises StoreError."""
        messages = []
        for content_type, body, delay in bodies:
            self.last_seq = seq = self.last_seq + 1
            due = now + delay if delay else 0.0
            messages.append(StoredMessage(seq, self._make_id(), now, due, 0, content_type, body))
        return self._insert(self._writing(), messages)

    def add_dead(self, group: Group, dead: Iterable[StoredMessage], *, source: str, now: float) -> None:
        """Add dead letters of the queue ``source``, whose group writes them. They keep their ids."""
        self._insert(group, [self._copy(message, now, source) for message in dead])

    def add_back(self, group: Group, messages: Iterable[StoredMessage], *, now: float) -> None:
        """Add dead letters that are to be tried again; the group of the queue that they come from writes them."""
        self._insert(group, [self._copy(message, now, None) for message in messages])

    def _copy(self, message: StoredMessage, now: float, source: str | None) -> StoredMessage:
        self.last_seq += 1
        return StoredMessage(self.last_seq, message.id, now, 0.0, 0, message.content_type, message.body, source=source)

    def restore(self, message: StoredMessage) -> None:
        """Put back a message whose deletion was written before. Raises StoreError."""
        self._write_row(self._writing(), message)

    def charge(self, seqs: Sequence[int]) -> Commit:
        """Count one more attempt. Raises StoreError."""
        return self._run(tables.charge(self.name, seqs))

    def lease(self, seqs: Sequence[int], *, until: float, token: str) -> Commit:
        """Count one more attempt, and hide the messages until then. Raises StoreError."""
        return self._run(tables.lease(self.name, seqs, until=until, token=token))

    def postpone(self, messages: Sequence[StoredMessage], *, until: float) -> Commit:
        """Hide messages until then (Unix seconds; 0: not at all); the listener is told of them. Raises StoreError."""
        commit = self._run(tables.postpone(self.name, [message.seq for message in messages], until=until))
        for message in messages:
            message.due = until
        self._note(commit, messages)
        return commit

    def release(self, seqs: Sequence[int], *, until: float) -> Commit:
        """End leases: the messages are there again then (Unix seconds). Raises StoreError."""
        return self._run(tables.postpone(self.name, seqs, until=until))

    def delete(self, seqs: Sequence[int]) -> Commit:
        """End messages. Raises StoreError."""
        commit = self._run(tables.delete(self.name, seqs))
        self.leaving.update(seqs)
        commit.add_done_callback(lambda _: self.leaving.difference_update(seqs))
        return commit

    def move(self, messages: Sequence[StoredMessage], to: StoredQueue, *, now: float) -> Commit:
        """Make dead letters of messages. Both queues change in one commit. Raises StoreError."""
        to.add_dead(self._writing(), messages, source=self.name, now=now)
        return self.delete([message.seq for message in messages])

    def move_back(self, messages: Sequence[StoredMessage], to: StoredQueue, *, now: float) -> Commit:
        """Let dead letters be delivered anew from another queue, in one commit. Raises StoreError."""
        to.add_back(self._writing(), messages, now=now)
        return self.delete([message.seq for message in messages])

    def purge(self) -> tuple[int, Commit]:
        """Delete all there is. Returns the last place that this reaches. Raises StoreError."""
        through = self.last_seq
        return through, self._writing().write(tables.PURGE, (self.name, through))

    def expire(self, sent_until: float) -> Commit:
        """Delete what was sent until then (Unix seconds). Raises StoreError."""
        return self._writing().write(tables.EXPIRE, (self.name, sent_until))

    def set_paused(self, paused: bool) -> Commit:
        """Stop delivery, or go on. Raises StoreError."""
        self.paused = paused
        return self._writing().write(tables.SET_PAUSED, (int(paused), self.name))

    def pending(self) -> Commit | None:
        """What covers every write so far; None where all are durable."""
        return None if self._group is None else self._group.pending()

    def create(self, group: Group | None = None) -> None:
        """Write that the queue exists, unless that is durable. Raises StoreError."""
        if not self._exists:
            commit = (group or self._writing()).write(tables.CREATE, (self.name, self.created_at))
            commit.add_done_callback(self._created)

    def _created(self, commit: Commit) -> None:
        self._exists = commit.error is None

    def _insert(self, group: Group, messages: Sequence[StoredMessage]) -> Commit:
        self.create(group)
        for message in messages:
            commit = self._write_row(group, message)
        self._note(commit, messages)
        return commit

    def _write_row(self, group: Group, message: StoredMessage) -> Commit:
        return group.write(
            tables.INSERT,
            (
                self.name,
                message.seq,
                message.id,
                message.sent_at,
                message.due,
                message.attempts,
                message.content_type.value,
                message.body,
                None,
                message.source,
            ),
        )

    def _run(self, statements: Iterable[tables.Statement]) -> Commit:
        group = self._writing()
        for sql, args in statements:
            commit = group.write(sql, args)
        return commit

    def _note(self, commit: Commit, messages: Iterable[StoredMessage]) -> None:
        """Tell the listener of the messages once the commit is durable: once for all of a turn."""
        if commit is not self._unit:
            self._unit, self._unit_messages = commit, []
            commit.add_done_callback(partial(self._committed, self._unit_messages))
        self._unit_messages.extend(messages)

    def _committed(self, messages: list[StoredMessage], commit: Commit) -> None:
        if commit is self._unit:
            self._unit, self._unit_messages = None, []
        if commit.error is None and self.listener is not None:
            self.listener.arrived(messages)

    def _writing(self) -> Group:
        if self._group is None or self._group.failed is not None:
            self._group = self._store.group(f"queue {self.name}", on_failure=self._on_failure)
        return self._group

    def _on_failure(self, error: StoreError) -> None:
        self._failed(error)
        if self.listener is not None:
            self.listener.lost()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def fresh(self, after: int, limit: int) -> list[StoredMessage]:
        """Messages without a delay behind that place, in order. Raises StoreError."""
        return list(map(message_of, await self._store.read(tables.FRESH, (self.name, after, limit))))

    async def due(self, after: tuple[float, int], now: float, limit: int) -> list[StoredMessage]:
        """Delayed messages behind that one that are due, in order. Raises StoreError."""
        due, seq = after
        return list(map(message_of, await self._store.read(tables.DUE, (self.name, now, due, due, seq, limit))))

    async def next_due(self, after: tuple[float, int]) -> float | None:
        """When the first delayed message behind that one is due. Raises StoreError."""
        due, seq = after
        [(first,)] = await self._store.read(tables.NEXT_DUE, (self.name, due, due, seq))
        return None if first is None else float(first)

    async def first(self, after: int, limit: int) -> list[StoredMessage]:
        """All messages behind that place, in order. Raises StoreError."""
        return list(map(message_of, await self._store.read(tables.FIRST, (self.name, after, limit))))

    async def overdrawn(self, now: float, max_retries: int, limit: int) -> list[StoredMessage]:
        """Messages that were pulled for the last time, and not acknowledged in time. Raises StoreError."""
        rows = await self._store.read(tables.OVERDRAWN, (self.name, now, max_retries, limit))
        return list(map(message_of, rows))

    async def leased(self, seq: int, lease: str) -> StoredMessage | None:
        """The message that is leased under that token; None where it isn't. Raises StoreError."""
        rows = await self._store.read(tables.LEASED, (self.name, seq, lease))
        return message_of(rows[0]) if rows else None

    async def count(self) -> int:
        """How many messages there are. Raises StoreError."""
        return int((await self._store.read(tables.COUNT, (self.name,)))[0][0])

    async def count_delayed(self, now: float) -> int:
        """How many wait for their time. Raises StoreError."""
        return int((await self._store.read(tables.COUNT_DELAYED, (self.name, now)))[0][0])

    async def count_leased(self, now: float) -> int:
        """How many were pulled, and not acknowledged yet. Raises StoreError."""
        return int((await self._store.read(tables.COUNT_LEASED, (self.name, now)))[0][0])

    async def oldest(self) -> float | None:
        """When the first message was sent, in Unix seconds. Raises StoreError."""
        rows = await self._store.read(tables.OLDEST, (self.name,))
        return float(rows[0][0]) if rows else None
