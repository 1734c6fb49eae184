"""Which messages of a queue are in memory, ready to be delivered, and which are still to be read. Pure.

Why it exists: a backlog may be far larger than memory, and a queue that keeps up should never read what it has just
written. So committed messages go straight into the window while there is room; past that they stay in the store, and
are read in order when there is room again.

Invariants: of messages without a delay, all up to ``position`` are in the window, in flight, or done with; of delayed
ones, all up to ``due_position`` (by ``due``, then ``seq``). What is beyond was not delivered since the last ``clear``.
No message is twice in the window, or in it and in flight. Commits may come out of order (a dead letter is written by
the queue it comes from), so a message that commits behind a position enters at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from typing import Final

from moorings.queues.message import StoredMessage

ROOM: Final = 2_000
"""Messages in the window, at most, but for those that come behind a position."""

ROOM_BYTES: Final = 8 * 2**20
"""Bytes of bodies in the window past which nothing more is taken in."""


class Window:
    """The messages that are ready, those that were delayed or retried first, each kind in order."""

    __slots__ = (
        "_again",
        "_bytes",
        "_fresh",
        "_passed_by",
        "_purged_through",
        "due_position",
        "in_flight",
        "more",
        "next_due",
        "position",
    )

    def __init__(self) -> None:
        self._again: OrderedDict[int, StoredMessage] = OrderedDict()
        self._fresh: OrderedDict[int, StoredMessage] = OrderedDict()
        self._bytes = 0
        self._purged_through = 0
        self._passed_by = False  # a message was left in the store since the last read began
        self.in_flight: set[int] = set()
        self.position = 0
        self.due_position = (0.0, 0)
        self.more = True
        """Whether the store may have messages beyond ``position``."""
        self.next_due: float | None = None
        """When the first message beyond ``due_position`` is due; None where there is none."""

    def __len__(self) -> int:
        return len(self._again) + len(self._fresh)

    @property
    def room(self) -> int:
        """How many messages may be read from the store."""
        return 0 if self._bytes >= ROOM_BYTES else max(0, ROOM - len(self))

    @property
    def hungry(self) -> bool:
        """Whether it is time to read more."""
        return len(self) < ROOM // 2 and self._bytes < ROOM_BYTES // 2

    def forget(self) -> None:
        """Leave what is ready in the store, to be read anew. What is in flight goes on."""
        self._again.clear()
        self._fresh.clear()
        self._bytes = 0
        self.position = 0
        self.due_position = (0.0, 0)
        self.more = True
        self.next_due = None

    def _known(self, seq: int) -> bool:
        return seq in self.in_flight or seq in self._fresh or seq in self._again

    def _add(self, place: OrderedDict[int, StoredMessage], message: StoredMessage) -> None:
        place[message.seq] = message
        self._bytes += len(message.body)

    def arrived(self, messages: Iterable[StoredMessage]) -> None:
        """Messages were committed. Those with a delay only move ``next_due``, unless the position has passed them."""
        for message in messages:
            seq = message.seq
            if seq <= self._purged_through or self._known(seq):
                continue
            if message.due:
                if (message.due, seq) <= self.due_position:
                    self._add(self._again, message)
                elif self.next_due is None or message.due < self.next_due:
                    self.next_due = message.due
            elif seq <= self.position:
                self._add(self._fresh, message)
            elif self.more:
                self._passed_by = True
            elif self.room:
                self._add(self._fresh, message)
                self.position = seq
            else:
                self.more = self._passed_by = True

    def keep_behind(self, now: float) -> None:
        """Where wall time was set back, what was read as due lies ahead of it: begin anew, and wait for what comes."""
        if self.due_position[0] > now:
            self.due_position = (0.0, 0)

    def begin_read(self) -> None:
        """The store is about to be read: what commits until the result is there may be missing from it."""
        self._passed_by = False

    def learn_next_due(self, due: float | None) -> None:
        """When the store's first message beyond ``due_position`` is due."""
        if due is not None and (self.next_due is None or due < self.next_due):
            self.next_due = due

    def read_fresh(
        self, messages: Sequence[StoredMessage], *, asked: int, leaving: Container[int] = frozenset()
    ) -> None:
        """What the store had beyond ``position``, ``asked`` for so many; those that are ``leaving`` are left out."""
        for message in messages:
            if message.seq > self._purged_through and message.seq not in leaving and not self._known(message.seq):
                self._add(self._fresh, message)
            self.position = max(self.position, message.seq)
        self.more = len(messages) >= asked or self._passed_by

    def read_due(self, messages: Sequence[StoredMessage], *, leaving: Container[int] = frozenset()) -> None:
        """What the store had beyond ``due_position`` that is due."""
        for message in messages:
            if message.seq > self._purged_through and message.seq not in leaving and not self._known(message.seq):
                self._add(self._again, message)
            self.due_position = max(self.due_position, (message.due, message.seq))

    def take(self, count: int) -> list[StoredMessage]:
        """The next messages, which are in flight from now on."""
        taken = []
        while count and (self._again or self._fresh):
            _, message = (self._again or self._fresh).popitem(last=False)
            self._bytes -= len(message.body)
            self.in_flight.add(message.seq)
            taken.append(message)
            count -= 1
        return taken

    def retried(self, message: StoredMessage) -> None:
        """A message in flight is to be delivered again at once."""
        self.in_flight.discard(message.seq)
        if message.seq > self._purged_through:
            self._add(self._again, message)

    def ended(self, seqs: Iterable[int]) -> None:
        """Messages are in flight no longer: they are done with, or wait in the store for their time."""
        self.in_flight.difference_update(seqs)

    def withdraw(self, seqs: Iterable[int]) -> None:
        """Messages were taken out of the queue by somebody else."""
        for seq in seqs:
            message = self._again.pop(seq, None) or self._fresh.pop(seq, None)
            if message is not None:
                self._bytes -= len(message.body)

    def purge(self, through: int) -> None:
        """All messages up to that one were deleted; those in flight go on, and are not delivered again."""
        self._purged_through = max(self._purged_through, through)
        self._again.clear()
        self._fresh.clear()
        self._bytes = 0
        self.next_due = None

    def purged(self, seq: int) -> bool:
        """Whether a message was deleted by ``purge``."""
        return seq <= self._purged_through
