"""The life of an instance as one table, and the names of what its steps go through.

What may be asked of an instance from outside (pause, resume, terminate) is looked up here, and refused with the states
from which it is possible. The engine's own moves are written by the statements in ``records``, which repeat the states
that they start from.
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
    PAUSE = "pause"
    HALT = "halt"  # the steps that ran when it was paused have ended
    RESUME = "resume"
    COMPLETE = "complete"
    FAIL = "fail"
    TERMINATE = "terminate"
    RESTART = "restart"


S, M = WorkflowStatus, Move

TABLE: Final[dict[tuple[WorkflowStatus, Move], WorkflowStatus]] = {
    (S.QUEUED, M.BEGIN): S.RUNNING,
    (S.QUEUED, M.PAUSE): S.PAUSED,
    (S.RUNNING, M.PARK): S.WAITING,
    (S.RUNNING, M.PAUSE): S.WAITING_FOR_PAUSE,
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
    (S.QUEUED, M.TERMINATE): S.TERMINATED,
    (S.RUNNING, M.TERMINATE): S.TERMINATED,
    (S.WAITING, M.TERMINATE): S.TERMINATED,
    (S.WAITING_FOR_PAUSE, M.TERMINATE): S.TERMINATED,
    (S.PAUSED, M.TERMINATE): S.TERMINATED,
    **{(status, M.RESTART): S.QUEUED for status in S},
}

ENDED: Final = frozenset({S.COMPLETE, S.ERRORED, S.TERMINATED})
"""Statuses that only a restart leaves, and a resume where the code had changed."""


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
