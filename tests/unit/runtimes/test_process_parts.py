"""The parts of the supervisor that need no process: names, frames, lines, logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorings.runtimes.process import wire
from moorings.runtimes.process.output import (
    LONGEST_LINE,
    TAIL_BYTES,
    TAIL_LINES,
    Batch,
    LineSplitter,
    Log,
    LogSettings,
    Pace,
    Tail,
)
from moorings.runtimes.process.paths import Layout, is_plain, object_folder, socket_address

_ID, _OTHER = "a" * 64, "b" * 64


@settings(deadline=None)
@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_folders_of_two_names_differ_and_are_one_safe_component(one: str, other: str) -> None:
    folders = {object_folder(_ID, one), object_folder(_OTHER, other)}
    assert len(folders) == (2 if one != other else len(folders))
    for folder in folders:
        assert is_plain(folder.replace("%", "_").replace("~", "_"))
        assert folder not in (".", "..")


def test_a_name_that_looks_like_an_id_does_not_take_that_objects_folder() -> None:
    assert object_folder(_OTHER, _ID) != object_folder(_ID, None) == _ID


@pytest.mark.parametrize("token", ["../evil", "", ".", "..", "a/b", "a\0b", "x" * 500, "ü"])
def test_an_incarnation_stays_in_its_folder_whatever_its_token(token: str) -> None:
    layout = Layout("/data")
    assert os.path.dirname(os.path.normpath(layout.incarnation(token))) == layout.run


def test_a_socket_address_fits_however_long_its_path() -> None:
    long = "/" + "x" * 200 + "/socket"
    assert socket_address("/short/socket", 7) == "/short/socket"
    assert socket_address(long, 7) == "/proc/self/fd/7/socket"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_frames_are_cut_wherever_the_stream_was_cut(tokens: list[bytes], size: int) -> None:
    messages = [wire.ToPlatform(number, wire.Lines([token])) for number, token in enumerate(tokens)]
    stream = b"".join(map(wire.frame, messages))
    frames = wire.Frames()
    cut = [payload for start in range(0, len(stream), size) for payload in frames.feed(stream[start : start + size])]
    assert cut == [wire.frame(message)[4:] for message in messages]


def test_a_frame_of_impossible_length_is_an_error() -> None:
    with pytest.raises(wire.FrameError):
        list(wire.Frames().feed(b"\xff\xff\xff\xff"))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_are_cut_wherever_the_reads_were(parts: list[bytes], size: int) -> None:
    stream = b"\n".join(parts)
    splitter = LineSplitter()
    batches = [batch for start in range(0, len(stream), size) for batch in splitter.feed(stream[start : start + size])]
    batches += splitter.finish()
    lines = [line for batch in batches for line in batch.lines]
    # the end of a stream ends a line: a last, empty part is none
    wanted = stream.split(b"\n")
    wanted = [line[:-1] if line.endswith(b"\r") else line for line in wanted[:-1]] + (
        [wanted[-1]] if wanted[-1] else []
    )
    assert lines == wanted


@pytest.mark.parametrize("size", [1000, LONGEST_LINE, 100_000])
@pytest.mark.parametrize("character", ["x", "ü", "€", "😀"])
def test_pieces_of_a_long_line_are_whole_characters_and_make_up_the_line(size: int, character: str) -> None:
    line = "ab" + character * 30_000
    data = line.encode() + b"\nnext\n"
    splitter = LineSplitter()
    batches = [batch for start in range(0, len(data), size) for batch in splitter.feed(data[start : start + size])]
    pieces = [(batch.tag, piece) for batch in batches for piece in batch.lines]
    assert pieces.pop() == (b"F", b"next")
    assert "".join(piece.decode() for _, piece in pieces) == line
    assert [tag for tag, _ in pieces] == [b"P"] * (len(pieces) - 1) + [b"F"]
    assert all(len(piece) <= LONGEST_LINE for _, piece in pieces)


def test_a_line_of_no_characters_at_all_is_cut_all_the_same() -> None:
    batches = LineSplitter().feed(b"\x80" * 100_000 + b"\n")
    assert b"".join(piece for batch in batches for piece in batch.lines) == b"\x80" * 100_000


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(max_size=3000), max_size=100), max_size=20))
def test_a_tail_is_bounded_and_has_the_last_lines(batches: list[list[bytes]]) -> None:
    tail = Tail()
    for batch in batches:
        tail.add(batch)
    lines = [line for batch in batches for line in batch]
    kept = tail.last(10_000)
    assert kept == lines[len(lines) - len(kept) :]
    assert len(kept) <= TAIL_LINES
    assert sum(map(len, kept)) <= TAIL_BYTES
    assert tail.last(3) == kept[-3:]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=20), max_size=30),
    st.integers(100, 2000),
    st.integers(1, 4),
)
def test_logs_keep_whole_lines_within_their_bounds(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], size: int, files: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = Log(str(folder), LogSettings(size, files))
    for batch in batches:
        log.write(b"stdout", [Batch(b"F", [b"x" * length for length in batch])])
    found = sorted(folder.iterdir(), reverse=True)
    assert len(found) <= files
    kept = [line for file in found for line in file.read_bytes().splitlines()]
    lengths = [length for batch in batches for length in batch]
    assert [len(line.split(b" ", 3)[3]) for line in kept] == lengths[len(lengths) - len(kept) :]
    prefix = len("2026-01-01T00:00:00.000000Z stdout F \n")
    for file in found:
        assert file.stat().st_size <= max(size, prefix + max(lengths))
    assert log.lost == 0


def test_a_log_whose_folder_was_deleted_begins_anew(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "a" / "b"), LogSettings())
    log.write(b"stdout", [Batch(b"F", [b"one"])])
    (tmp_path / "a" / "b" / "current.log").unlink()
    (tmp_path / "a" / "b").rmdir()
    log.write(b"stdout", [Batch(b"F", [b"two"])])
    assert (tmp_path / "a" / "b" / "current.log").read_text().endswith(" stdout F two\n")


def test_a_log_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "current.log").symlink_to(tmp_path / "target")
    log = Log(str(tmp_path / "logs"), LogSettings())
    log.write(b"stdout", [Batch(b"F", [b"one", b"two"])])
    assert (tmp_path / "target").read_text() == "precious"
    assert log.lost == 2


def test_a_pace_admits_a_burst_and_counts_what_it_leaves_out() -> None:
    pace = Pace()
    admitted = sum(pace.admits([b"x" * 936] * 100) for _ in range(100))
    assert 10 <= admitted <= 12
    assert pace.skipped == (100 - admitted) * 100
