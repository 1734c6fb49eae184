from __future__ import annotations

from moorings.workflows.lifecycle import BEGINNINGS, ENDED, TABLE, Move, WorkflowStatus, diagram


def test_every_status_can_be_reached() -> None:
    assert {*BEGINNINGS, *TABLE.values()} == set(WorkflowStatus)


def test_what_has_not_ended_can_be_terminated_and_everything_can_begin_anew() -> None:
    assert {old for old, move in TABLE if move is Move.TERMINATE} == set(WorkflowStatus) - ENDED
    assert {old for old, move in TABLE if move is Move.RESTART} == set(WorkflowStatus)


def test_what_has_ended_is_left_by_nothing_but_a_restart_or_the_resume_of_an_error() -> None:
    left = {(old, move) for old, move in TABLE if old in ENDED and move is not Move.RESTART}
    assert left == {(WorkflowStatus.ERRORED, Move.RESUME)}


def test_the_diagram_has_a_line_per_row() -> None:
    assert len(diagram().splitlines()) == len(TABLE) + len(BEGINNINGS) + 1
