from __future__ import annotations

import pytest

from moorings.containers.lifecycle import DOWN, TABLE, UP, IllegalMove, Move, Status, after, diagram, exit_move
from moorings.runtimes.base import Exit, ExitReason


def test_every_state_can_be_reached_and_left() -> None:
    reached = {Status.STOPPED, *TABLE.values()}
    left = {old for old, _ in TABLE}
    assert reached == left == set(Status)


def test_a_container_that_runs_can_always_be_stopped_and_can_always_end() -> None:
    for status in UP:
        assert after(status, Move.STOP) is Status.STOPPING
        assert after(status, Move.EXIT) in DOWN
        assert after(status, Move.EXIT_WITH_CODE) in DOWN


def test_only_what_is_down_can_be_started() -> None:
    assert {old for old, move in TABLE if move is Move.START} == DOWN


def test_a_move_that_is_no_row_is_a_fault() -> None:
    with pytest.raises(IllegalMove, match="stopped can't ready"):
        after(Status.STOPPED, Move.READY)


@pytest.mark.parametrize(
    ("code", "reason", "sent", "move"),
    [
        (0, ExitReason.EXIT, set(), Move.EXIT),
        (3, ExitReason.EXIT, set(), Move.EXIT_WITH_CODE),
        (143, ExitReason.SIGNAL, {15}, Move.EXIT),
        (143, ExitReason.SIGNAL, set(), Move.EXIT_WITH_CODE),
        (137, ExitReason.DESTROYED, {9}, Move.EXIT),
        (137, ExitReason.OOM, {15}, Move.EXIT_WITH_CODE),
        (1, ExitReason.EXIT, {15}, Move.EXIT_WITH_CODE),
    ],
)
def test_an_exit_counts_as_asked_for_or_not(code: int, reason: ExitReason, sent: set[int], move: Move) -> None:
    assert exit_move(Exit(code, reason, 0.0), frozenset(sent)) is move


def test_the_diagram_has_a_line_per_row() -> None:
    assert len(diagram().splitlines()) == len(TABLE) + 2
