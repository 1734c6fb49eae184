"""What of a queue is in memory: decided without a store."""

from __future__ import annotations

from moorings.queues.bodies import ContentType
from moorings.queues.message import StoredMessage
from moorings.queues.window import ROOM, ROOM_BYTES, Window


def message(seq: int, *, due: float = 0.0, size: int = 1) -> StoredMessage:
    return StoredMessage(seq, str(seq), 0.0, due, 0, ContentType.BYTES, b"x" * size)


def caught_up() -> Window:
    """A window that has read all there is."""
    window = Window()
    window.read_fresh([], asked=10)
    return window


def taken(window: Window) -> list[int]:
    return [each.seq for each in window.take(10_000)]


def test_what_comes_goes_straight_in_while_nothing_is_left_in_the_store() -> None:
    window = caught_up()
    window.arrived([message(1), message(2)])
    assert taken(window) == [1, 2]
    assert not window.more


def test_past_its_room_messages_stay_in_the_store() -> None:
    window = caught_up()
    window.arrived([message(seq) for seq in range(1, ROOM + 11)])
    assert (len(window), window.position, window.more, window.room) == (ROOM, ROOM, True, 0)
    window.take(ROOM)
    window.arrived([message(ROOM + 11)])
    assert len(window) == 0, "it would overtake those in the store"


def test_large_bodies_fill_the_room_sooner() -> None:
    window = caught_up()
    window.arrived([message(seq, size=ROOM_BYTES // 4) for seq in range(1, 9)])
    assert (len(window), window.more) == (4, True)


def test_a_message_that_commits_behind_the_position_enters_at_once_and_once() -> None:
    window = caught_up()
    window.arrived([message(2)])
    window.arrived([message(1)])
    window.arrived([message(1)])
    assert taken(window) == [2, 1]


def test_what_was_read_before_its_commit_was_told_is_not_taken_twice() -> None:
    window = Window()
    window.read_fresh([message(1), message(2)], asked=10)
    assert window.take(1)[0].seq == 1
    window.arrived([message(1), message(2)])
    assert taken(window) == [2]


def test_what_commits_while_the_store_is_read_is_read_next() -> None:
    window = Window()
    window.begin_read()
    window.arrived([message(1)])
    window.read_fresh([], asked=10)
    to_be_read_again = window.more
    window.begin_read()
    window.read_fresh([message(1)], asked=10)
    assert (to_be_read_again, window.more) == (True, False)
    assert taken(window) == [1]


def test_delayed_messages_wait_in_the_store_and_those_that_became_due_come_first() -> None:
    window = caught_up()
    window.arrived([message(1, due=50.0), message(2, due=20.0), message(3)])
    assert window.next_due == 20.0
    window.read_due([message(2, due=20.0)])
    assert taken(window) == [2, 3]


def test_a_delayed_message_that_the_position_has_passed_enters_at_once() -> None:
    window = caught_up()
    window.read_due([message(1, due=20.0)])
    window.arrived([message(2, due=10.0)])
    assert taken(window) == [1, 2]


def test_what_was_purged_does_not_come_back() -> None:
    window = caught_up()
    window.arrived([message(1), message(2)])
    [first] = window.take(1)
    window.purge(2)
    window.retried(first)
    window.arrived([message(2)])
    window.read_fresh([message(1), message(2), message(3)], asked=10)
    assert taken(window) == [3]


def test_what_somebody_else_took_is_gone() -> None:
    window = caught_up()
    window.arrived([message(1), message(2)])
    window.withdraw([1, 7])
    window.read_fresh([message(2), message(3), message(4)], asked=3, leaving={4})
    assert taken(window) == [2, 3]
