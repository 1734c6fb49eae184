"""Numbered schema steps: what is applied is recorded, and what a newer version applied is refused.

All steps that are missing run in one transaction together with their records, so a database is always between two
versions, never within one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from moorings.errors import StoreError
from moorings.store.base import Migration

TABLE: Final = "moorings_migrations"

CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} ("
    "package TEXT NOT NULL, number INTEGER NOT NULL, applied_at REAL NOT NULL, PRIMARY KEY (package, number))"
)
SELECT: Final = f"SELECT package, number FROM {TABLE}"
INSERT: Final = f"INSERT INTO {TABLE} (package, number, applied_at) VALUES (?, ?, ?)"


def missing(migrations: Iterable[Migration], applied: Sequence[tuple[str, int]], *, database: str) -> list[Migration]:
    """The migrations that are to be applied, in order. Pure.

    Raises ValueError where a package's numbers are not 1, 2, 3, ...; StoreError where ``applied`` holds one that is
    unknown.
    """
    known: dict[str, list[Migration]] = {}
    for migration in migrations:
        known.setdefault(migration.package, []).append(migration)
    for package, steps in known.items():
        if [step.number for step in steps] != list(range(1, len(steps) + 1)):
            raise ValueError(f"the migrations of {package} are not numbered 1, 2, 3, ...: {[s.number for s in steps]}")
    unknown = sorted((package, number) for package, number in applied if number > len(known.get(package, ())))
    if unknown:
        steps_there = ", ".join(f"{package} {number}" for package, number in unknown)
        raise StoreError(
            f"{database} was written by a newer version of Moorings (it has the schema steps {steps_there}, "
            "which this version does not know). Nothing was changed. Run that version or a later one"
        )
    done = frozenset(applied)
    return [step for steps in known.values() for step in steps if (step.package, step.number) not in done]
