"""Where frames end, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moorings.proxy.frames import FrameTracker, Opcode
from moorings.proxy.frames import frame as made
from tests.support.frames import CLOSE, CONT, PING, PONG, TEXT, close, frame, split

frames = st.builds(
    frame,
    st.sampled_from((0, 1, 2, 3, 8, 9, 10, 15)),
    st.integers(0, 70_000).map(bytes) | st.binary(max_size=130),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    mask=st.sampled_from((None, b"abcd")),
)


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_the_tracker_knows_where_each_frame_ends_however_the_bytes_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    tracker = FrameTracker()
    data = b"".join(sent)
    ends, at = [], 0
    for piece in sent:
        at += len(piece)
        ends.append(at)
    found, done, n = [], 0, 0
    while done < len(data):
        piece = data[done : done + cuts[n % len(cuts)]]
        n += 1
        at = 0
        while at < len(piece):
            at = tracker.advance(piece, at)
            if tracker.between_frames:
                found.append(done + at)
        done += len(piece)
    assert found == ends
    assert tracker.between_frames


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_following_whole_pieces_comes_to_the_same_as_frame_by_frame(sent: list[bytes], cuts: list[int]) -> None:
    whole, single = FrameTracker(), FrameTracker()
    data = b"".join(sent)
    for piece in sent:
        single.take(piece)
    active, n = False, 0
    while data:
        active = whole.take(data[: cuts[n % len(cuts)]]) or active
        data = data[cuts[n % len(cuts)] :]
        n += 1
    assert active == any(piece[0] & 0x0F < 8 for piece in sent)
    assert (whole.between_frames, whole.in_message, whole.closed) == (True, single.in_message, single.closed)


def test_only_data_frames_are_activity() -> None:
    tracker = FrameTracker()
    assert not any(tracker.take(data) for data in (frame(PING, b"x"), frame(PONG), close()))
    assert tracker.closed
    assert all(tracker.take(data) for data in (frame(TEXT, b"x", fin=False), frame(CONT, b"y")))


def test_a_message_is_under_way_until_its_last_fragment() -> None:
    tracker = FrameTracker()
    states = []
    for data in (frame(TEXT, fin=False), frame(PING), frame(CONT, fin=False), frame(CONT)):
        tracker.take(data)
        states.append(tracker.in_message)
    assert states == [True, True, True, False]


@given(st.binary(max_size=70_000))
def test_frames_made_here_are_read_as_they_were_meant(payload: bytes) -> None:
    ((received,), rest) = split(made(Opcode.BINARY, payload))
    assert (received.first, received.payload, rest) == (0x82, payload, b"")
    assert made(Opcode.CLOSE, payload[:120], mask=b"wxyz") == frame(CLOSE, payload[:120], mask=b"wxyz")
