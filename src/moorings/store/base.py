"""The seam between everything durable and the database that keeps it.

Why it exists: durability has one mechanism. Object keys, alarms, container states, messages and workflow steps are
rows that their packages write through a ``Store``; nothing above it knows which database that is.

Contract, for every implementation:

1. ``Group.write`` queues a statement and returns at once. What one group queued in one turn of the event loop is one
   *commit unit*: it is stored as a whole or not at all, in the order of the calls. All units of a turn share one
   transaction.
2. A ``Commit`` succeeds only when its unit would survive a power cut (fsync), and fails with a StoreError otherwise;
   nothing of a failed unit is stored. A unit that fails alone takes no other group with it.
3. A group whose unit failed is dead: what it had queued behind that unit fails with it, later writes raise. Whoever
   owns the group takes a new one after going back to what is stored. So no write can be based on one that was lost.
4. ``read`` sees committed rows only.

Everything here belongs to the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from moorings.errors import StoreError
from moorings.store.commit import Commit

Row = tuple[Any, ...]
Args = Sequence[Any]
"""Parameters of a statement: None, int (64 bits), float, str or bytes each, for a ``?`` each."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a package's schema, applied once and in one transaction with the rest at ``open``.

    ``number`` counts 1, 2, 3, ... within the package; a released migration is never edited.
    """

    package: str
    number: int
    statements: tuple[str, ...]


class Group(Protocol):
    """The writes of one owner (an object, a queue, a workflow) that stand and fall together."""

    @property
    def label(self) -> str:
        """Whose writes these are, for errors."""

    @property
    def failed(self) -> StoreError | None:
        """What killed the group, where something did."""

    def write(self, sql: str, args: Args = (), *, expect: int | None = None) -> Commit:
        """Queue a statement; it takes effect in the order of the calls within the group.

        ``expect`` is the number of rows that it must change: another number fails the unit with StoreConflict (fencing
        tokens, compare-and-set). Raises StoreError at once where the group is dead or the store is closed.
        """

    def pending(self) -> Commit | None:
        """The commit that covers every write so far; None where all are durable. Of a dead group: the failed one."""


class Store(Protocol):
    """Where durable rows live."""

    def group(self, label: str, *, on_failure: Callable[[StoreError], None] | None = None) -> Group:
        """A new group. ``on_failure`` is called once, after the group's commits have failed; it must not raise."""

    async def read(self, sql: str, args: Args = ()) -> list[Row]:
        """The rows of a query over what is committed. SQLite answers without suspending. Raises StoreError."""

    async def close(self) -> None:
        """Commit what is queued, then release everything; idempotent. Later writes and reads raise StoreError."""
