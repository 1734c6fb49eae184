"""The rows of workflows: instances, their steps, the events that were sent to them. Portable SQL.

Invariants: every write of a run names the instance's ``fence``, which grows by one whenever an instance changes hands,
so a run that is no longer its owner can write nothing. ``wake`` is when an instance wants to be in memory again (Unix
seconds): at once where it is queued, and NULL while it runs, is paused or has ended. A key is never used twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from moorings.store import Migration

MIGRATIONS: Final = (
    Migration(
        "workflows",
        1,
        (
            """CREATE TABLE workflows_instances (
                 id_key BIGINT PRIMARY KEY,
                 workflow TEXT NOT NULL,
                 id TEXT NOT NULL,
                 status TEXT NOT NULL,
                 wake REAL,
                 fence BIGINT NOT NULL,
                 params TEXT NOT NULL,
                 output TEXT,
                 error TEXT,
                 created REAL NOT NULL,
                 ended REAL,
                 expires REAL,
                 retention REAL
               )""",
            "CREATE UNIQUE INDEX workflows_instances_id ON workflows_instances (workflow, id)",
            "CREATE INDEX workflows_instances_wake ON workflows_instances (workflow, wake) WHERE wake IS NOT NULL",
            "CREATE INDEX workflows_instances_expires ON workflows_instances (expires) WHERE expires IS NOT NULL",
            """CREATE TABLE workflows_steps (
                 instance BIGINT NOT NULL,
                 name TEXT NOT NULL,
                 number INTEGER NOT NULL,
                 kind TEXT NOT NULL,
                 state TEXT NOT NULL,
                 attempts INTEGER NOT NULL,
                 cut_off INTEGER NOT NULL,
                 due REAL,
                 event_type TEXT,
                 output TEXT,
                 error TEXT,
                 began REAL NOT NULL,
                 ended REAL,
                 PRIMARY KEY (instance, name)
               )""",
            """CREATE TABLE workflows_events (
                 instance BIGINT NOT NULL,
                 number BIGINT NOT NULL,
                 type TEXT NOT NULL,
                 payload TEXT NOT NULL,
                 sent REAL NOT NULL,
                 PRIMARY KEY (instance, number)
               )""",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance as it is stored; ``params``, ``output`` and ``error`` are JSON, times are Unix seconds."""

    key: int
    workflow: str
    id: str
    status: str
    wake: float | None
    fence: int
    params: str
    output: str | None
    error: str | None
    created: float
    ended: float | None
    retention: float | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event that nobody has taken yet. ``number`` orders the events of an instance."""

    number: int
    type: str
    payload: str
    sent: float


_INSTANCE = "id_key, workflow, id, status, wake, fence, params, output, error, created, ended, retention"
STEP: Final = "instance, name, number, kind, state, attempts, cut_off, due, event_type, output, error, began, ended"
_EVENT = "number, type, payload, sent"


def instance_of(row: tuple[Any, ...]) -> InstanceRow:
    """A row of the table as a record."""
    return InstanceRow(*row)


# --- reading ----------------------------------------------------------------------------------------------------------

BY_ID: Final = f"SELECT {_INSTANCE} FROM workflows_instances WHERE workflow = ? AND id = ?"
DUE: Final = (
    f"SELECT {_INSTANCE} FROM workflows_instances WHERE workflow = ? AND wake <= ? ORDER BY wake, id_key LIMIT ?"
)
NEXT: Final = "SELECT min(wake) FROM workflows_instances WHERE workflow = ? AND wake > ?"
STEPS: Final = f"SELECT {STEP} FROM workflows_steps WHERE instance = ? ORDER BY number"
EVENTS: Final = f"SELECT instance, {_EVENT} FROM workflows_events WHERE instance = ? ORDER BY number"


def steps_of(count: int) -> str:
    """The query for the steps of ``count`` instances."""
    return f"SELECT {STEP} FROM workflows_steps WHERE instance IN ({', '.join('?' * count)})"


def events_of(count: int) -> str:
    """The query for the events of ``count`` instances, in the order in which they were sent."""
    marks = ", ".join("?" * count)
    return f"SELECT instance, {_EVENT} FROM workflows_events WHERE instance IN ({marks}) ORDER BY instance, number"


KEYS_OF_IDS: Final = "SELECT id_key FROM workflows_instances WHERE workflow = ? AND id = ?"
GREATEST: Final = "SELECT max(id_key) FROM workflows_instances UNION ALL SELECT max(number) FROM workflows_events"
"""The greatest keys in use, NULL where there are none."""
EXPIRED: Final = "SELECT id_key FROM workflows_instances WHERE expires <= ? ORDER BY expires LIMIT ?"
LATEST: Final = (
    f"SELECT {_INSTANCE} FROM workflows_instances WHERE (? = '' OR workflow = ?) AND (? = '' OR status = ?) "
    "ORDER BY id_key DESC LIMIT ?"
)

# --- writing an instance ----------------------------------------------------------------------------------------------

CREATE: Final = (
    "INSERT INTO workflows_instances (id_key, workflow, id, status, wake, fence, params, created, retention) "
    "VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (workflow, id) DO NOTHING"
)
CLAIM: Final = (
    "UPDATE workflows_instances SET status = 'running', wake = NULL, fence = fence + 1 WHERE id_key = ? AND fence = ?"
)
MOVE: Final = "UPDATE workflows_instances SET status = ?, wake = ? WHERE id_key = ? AND fence = ?"
PARK: Final = (
    "UPDATE workflows_instances SET status = 'waiting', wake = CASE WHEN EXISTS (SELECT 1 FROM workflows_events "
    "WHERE workflows_events.instance = id_key AND EXISTS (SELECT 1 FROM workflows_steps WHERE "
    "workflows_steps.instance = id_key AND state = 'waiting' AND kind = 'wait_for_event' AND event_type = type)) "
    "THEN ? ELSE ? END WHERE id_key = ? AND fence = ?"
)
"""Wait: until the second time, or the first where an event was stored that the run hadn't seen when it was left."""
END: Final = (
    "UPDATE workflows_instances SET status = ?, wake = NULL, output = ?, error = ?, ended = ?, expires = ? "
    "WHERE id_key = ? AND fence = ?"
)
TAKE: Final = (
    "UPDATE workflows_instances SET status = ?, wake = ?, error = ?, ended = ?, expires = ?, fence = fence + 1 "
    "WHERE id_key = ? AND fence = ?"
)
"""A move made from outside of a run: whoever ran the instance no longer owns it."""
RESTART: Final = (
    "UPDATE workflows_instances SET status = 'queued', wake = ?, output = NULL, error = NULL, ended = NULL, "
    "expires = NULL, fence = fence + 1 WHERE id_key = ? AND fence = ?"
)
REQUEUE: Final = (
    "UPDATE workflows_instances SET status = CASE status WHEN 'running' THEN 'queued' ELSE 'paused' END, "
    "wake = CASE status WHEN 'running' THEN ? ELSE NULL END, fence = fence + 1 "
    "WHERE status IN ('running', 'waiting_for_pause')"
)
"""What ran when the platform ended runs again; what was to be paused is."""
REQUEUE_ONE: Final = f"{REQUEUE} AND id_key = ? AND fence = ?"
FORGET: Final = (
    "DELETE FROM workflows_steps WHERE instance = ?",
    "DELETE FROM workflows_events WHERE instance = ?",
    "DELETE FROM workflows_instances WHERE id_key = ?",
)

# --- writing steps and events -----------------------------------------------------------------------------------------

_VALUES = ("state", "attempts", "cut_off", "due", "event_type", "output", "error", "ended")
RECORD: Final = (
    f"INSERT INTO workflows_steps ({STEP}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM workflows_instances "
    "WHERE id_key = ? AND fence = ? ON CONFLICT (instance, name) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _VALUES)
)
"""A step as it is now; changes no row where the instance has another owner."""
SEND: Final = (
    "INSERT INTO workflows_events (instance, number, type, payload, sent) SELECT ?, ?, ?, ?, ? "
    "FROM workflows_instances WHERE id_key = ? AND status NOT IN ('complete', 'errored', 'terminated')"
)
WAKE_FOR: Final = (
    "UPDATE workflows_instances SET wake = ? WHERE id_key = ? AND status = 'waiting' AND EXISTS (SELECT 1 FROM "
    "workflows_steps WHERE instance = id_key AND state = 'waiting' AND kind = 'wait_for_event' AND event_type = ?)"
)
TAKEN: Final = "DELETE FROM workflows_events WHERE instance = ? AND number = ?"
