"""The life of a container as one table.

Every move a container can make is a row here; anything else is a fault of the platform and raises. The diagram in the
documentation is made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moorings.objects.values import register_record
from moorings.runtimes.base import Exit, ExitReason


class Status(StrEnum):
    """What a container is doing (the names are Cloudflare's, and ``starting`` and ``paused``)."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    HEALTHY = "healthy"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED_WITH_CODE = "stopped_with_code"


class Move(StrEnum):
    """What may happen to a container."""

    START = "start"  # somebody needs it
    START_FAILED = "start failed"  # the runtime could not start it
    SPAWNED = "spawned"  # its program exists
    READY = "ready"  # the ports waited for accept
    PAUSE = "pause"
    THAW = "thaw"
    STOP = "stop"  # stop(), sleep or destroy()
    EXIT = "exit"  # it ended with 0, or as it was told to
    EXIT_WITH_CODE = "exit with code"  # it ended by itself with another code


S, M = Status, Move

TABLE: dict[tuple[Status, Move], Status] = {
    (S.STOPPED, M.START): S.STARTING,
    (S.STOPPED_WITH_CODE, M.START): S.STARTING,
    (S.STARTING, M.SPAWNED): S.RUNNING,
    (S.STARTING, M.START_FAILED): S.STOPPED,
    (S.STARTING, M.STOP): S.STOPPING,
    (S.RUNNING, M.READY): S.HEALTHY,
    (S.RUNNING, M.PAUSE): S.PAUSED,
    (S.RUNNING, M.STOP): S.STOPPING,
    (S.RUNNING, M.EXIT): S.STOPPED,
    (S.RUNNING, M.EXIT_WITH_CODE): S.STOPPED_WITH_CODE,
    (S.HEALTHY, M.PAUSE): S.PAUSED,
    (S.HEALTHY, M.STOP): S.STOPPING,
    (S.HEALTHY, M.EXIT): S.STOPPED,
    (S.HEALTHY, M.EXIT_WITH_CODE): S.STOPPED_WITH_CODE,
    (S.PAUSED, M.THAW): S.RUNNING,
    (S.PAUSED, M.STOP): S.STOPPING,
    (S.PAUSED, M.EXIT): S.STOPPED,
    (S.PAUSED, M.EXIT_WITH_CODE): S.STOPPED_WITH_CODE,
    (S.STOPPING, M.START_FAILED): S.STOPPED,
    (S.STOPPING, M.EXIT): S.STOPPED,
    (S.STOPPING, M.EXIT_WITH_CODE): S.STOPPED_WITH_CODE,
}

RUNS = frozenset({Status.RUNNING, Status.HEALTHY})
UP = RUNS | {Status.PAUSED}
DOWN = frozenset({Status.STOPPED, Status.STOPPED_WITH_CODE})


class IllegalMove(RuntimeError):
    """The platform tried a move that the table doesn't have."""


def after(status: Status, move: Move) -> Status:
    """Where a move leads. Raises IllegalMove where there is no such row."""
    try:
        return TABLE[status, move]
    except KeyError:
        raise IllegalMove(f"a container that is {status} can't {move}") from None


def exit_move(exit: Exit, signals_sent: frozenset[int]) -> Move:
    """How an exit counts: 0, and ending by a signal that the platform sent, are what was asked for."""
    asked = exit.reason is ExitReason.DESTROYED or (exit.code > 128 and exit.code - 128 in signals_sent)
    return Move.EXIT if exit.code == 0 or asked else Move.EXIT_WITH_CODE


@dataclass(frozen=True, slots=True)
class State:
    """What ``get_state()`` returns.

    ``last_change`` is in Unix seconds; ``exit_code`` is that of the last end, if any.
    """

    status: str
    last_change: float
    exit_code: int | None = None


register_record(State)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    rows = [f"    {old} --> {new}: {move}" for (old, move), new in TABLE.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> stopped", *rows])
