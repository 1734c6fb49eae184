"""The life of an instance as one table, and the names of what its steps go through.

Every change of a status is a row here; the diagram in the documentation is made from this table. What may be asked of
an instance from outside (pause, resume, terminate) is looked up in it. The engine's own moves are written by the
statements in ``records``, which repeat the states that they start from: the tests of workflows hold what is stored
against the table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from moorings.objects.values import register_record


@register_record
class WorkflowStatus(StrEnum):
    """What an instance is doing (the names are Cloudflare's).

    Source: developers.cloudflare.com/workflows/build/workers-api/#instancestatus
    """

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    WAITING_FOR_PAUSE = "waiting_for_pause"
    PAUSED = "paused"
    COMPLETE = "complete"
    ERRORED = "errored"
    TERMINATED = "terminated"


class Move(StrEnum):
    """What may happen to an instance."""

    BEGIN = "begin"  # it has a place, and is in memory
    PARK = "park"  # everything in it waits: it leaves memory
    WAKE = "wake"  # what it waited for has come
    REQUEUE = "requeue"  # the platform was stopped or killed, its code was replaced, or its writes were lost
    PAUSE = "pause"
    HALT = "halt"  # the steps that ran when it was paused have ended, or were cut off
    RESUME = "resume"
    COMPLETE = "complete"
    FAIL = "fail"
    TERMINATE = "terminate"
    RESTART = "restart"


S, M = WorkflowStatus, Move

ENDED: Final = frozenset({S.COMPLETE, S.ERRORED, S.TERMINATED})
"""Statuses that only a restart leaves, and a resume where the code had changed."""

BEGINNINGS: Final = (S.QUEUED, S.RUNNING)
"""Where an instance begins: it waits for a place, or has one at once."""

TABLE: Final[dict[tuple[WorkflowStatus, Move], WorkflowStatus]] = {
    (S.QUEUED, M.BEGIN): S.RUNNING,
    (S.QUEUED, M.PAUSE): S.PAUSED,
    (S.RUNNING, M.PARK): S.WAITING,
    (S.RUNNING, M.PAUSE): S.WAITING_FOR_PAUSE,
    (S.RUNNING, M.REQUEUE): S.QUEUED,
    (S.RUNNING, M.COMPLETE): S.COMPLETE,
    (S.RUNNING, M.FAIL): S.ERRORED,
    (S.WAITING, M.WAKE): S.RUNNING,
    (S.WAITING, M.PAUSE): S.PAUSED,
    (S.WAITING_FOR_PAUSE, M.HALT): S.PAUSED,
    (S.WAITING_FOR_PAUSE, M.RESUME): S.RUNNING,
    (S.WAITING_FOR_PAUSE, M.COMPLETE): S.COMPLETE,
    (S.WAITING_FOR_PAUSE, M.FAIL): S.ERRORED,
    (S.PAUSED, M.RESUME): S.QUEUED,
    (S.ERRORED, M.RESUME): S.QUEUED,  # where its code had changed, and was put back
    **{(status, M.TERMINATE): S.TERMINATED for status in S if status not in ENDED},
    **{(status, M.RESTART): S.QUEUED for status in S},
}


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    begins = [f"    [*] --> {status}" for status in BEGINNINGS]
    rows = [f"    {old} --> {new}: {move}" for (old, move), new in TABLE.items()]
    return "\n".join(["stateDiagram-v2", *begins, *rows])


class StepKind(StrEnum):
    """What a step is."""

    DO = "do"
    SLEEP = "sleep"
    WAIT_FOR_EVENT = "wait_for_event"


class StepState(StrEnum):
    """How far a step is."""

    RUNNING = "running"  # an attempt is under way, or was when the platform died
    WAITING = "waiting"  # for its time, or for an event
    RETRYING = "retrying"  # an attempt failed; the next one has its time
    COMPLETE = "complete"
    FAILED = "failed"
