"""Acknowledgements of one turn of the event loop, written as one statement.

A handler acknowledges messages one by one; the store does better with many rows at a time. So they are gathered until
the turn is over. Whoever awaits one is told when the statement is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from moorings.errors import MooringsError, StoreError
from moorings.objects.pending import NOTHING
from moorings.store import Commit

if TYPE_CHECKING:
    from moorings.queues.stored_queue import StoredQueue


class Refused:
    """An acknowledgement that came too late: raises where it is awaited, and may be dropped."""

    __slots__ = ("_error",)

    def __init__(self, error: MooringsError) -> None:
        self._error = error

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()
        raise self._error


class Acknowledgements:
    """What was acknowledged of a queue, and not written yet."""

    __slots__ = ("_commit", "_queue", "_seqs")

    def __init__(self, queue: StoredQueue) -> None:
        self._queue = queue
        self._seqs: list[int] = []
        self._commit: Commit | None = None

    def add(self, seqs: Sequence[int]) -> Awaitable[None]:
        """End messages for good. What it returns may be awaited until that is durable, or dropped."""
        if not seqs:
            return NOTHING
        if self._commit is None:
            self._commit = Commit()
            asyncio.get_running_loop().call_soon(self.flush)
        self._seqs.extend(seqs)
        return self._commit

    def flush(self) -> None:
        """Write what was gathered."""
        if self._commit is None:
            return
        told, seqs = self._commit, self._seqs
        self._commit, self._seqs = None, []
        try:
            written = self._queue.delete(seqs)
        except StoreError as error:
            told.resolve(error)
        else:
            written.add_done_callback(lambda commit: told.resolve(commit.error))
