"""What is shown to people, what is logged, and that neither can hold up or confuse anybody."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from pathlib import Path

import pytest

from moorings.cli.reporting.capture import LONGEST_LINE, captured
from moorings.cli.reporting.human import HumanReporter, describe, duration
from moorings.cli.reporting.json_lines import JsonReporter
from moorings.cli.reporting.reporter import Census
from moorings.cli.reporting.screen import PlainScreen, TerminalScreen, colour, shown
from moorings.cli.reporting.tracebacks import users_traceback
from moorings.cli.reporting.writer import Writer
from moorings.clock import ManualClock
from moorings.errors import ConfigError, ContainerFailedToStart
from moorings.observer import ErrorReported, Event, Notice, OutputLine, StateChanged, Subject
from moorings.worker.loader import load_application

ALICE = Subject("SessionBackend", "ab" * 32, "alice")


def human(*events: Event) -> list[str]:
    """The lines that ``dev`` prints for events, in a pipe."""
    stream = io.StringIO()
    writer = Writer(stream)
    reporter = HumanReporter(writer, PlainScreen(writer))
    for event in events:
        reporter.notify(event)
    reporter.close()
    return stream.getvalue().splitlines()


def logged(*events: Event) -> list[dict[str, object]]:
    """The objects that ``serve`` logs for events."""
    stream = io.StringIO()
    reporter = JsonReporter(Writer(stream), ManualClock(start=0.0))
    for event in events:
        reporter.notify(event)
    reporter.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def moved(new: str, at: float = 0.0, exit_code: int | None = None) -> StateChanged:
    return StateChanged(ALICE, "old", new, exit_code, at)


def users_error() -> Exception:
    """An error as a user's handler raises it."""
    try:
        os.environ["MISSING"]
    except KeyError as error:
        return error
    raise AssertionError


# --- people -----------------------------------------------------------------------------------------------------------


def test_states_are_shown_with_the_time_a_start_took_and_the_exit_code() -> None:
    assert human(moved("starting", 10.0), moved("healthy", 10.025), moved("stopped_with_code", 11.0, 3)) == [
        "SessionBackend/alice starting",
        "SessionBackend/alice healthy after 25 ms",
        "SessionBackend/alice ended with exit code 3",
    ]


def test_output_is_shown_after_the_containers_name_and_without_control_characters() -> None:
    line = OutputLine(ALICE, "stdout", "\x1b[31mred\x1b[0m \x1b]0;title\x07 be\x08ep\ttab")
    assert human(line) == ["SessionBackend/alice | red  be�ep\ttab"]


def test_a_name_chosen_by_a_client_takes_one_short_line() -> None:
    assert shown("A/evil\nname\x1b[2J") == "A/evil�name�[2J"
    assert len(shown("A/" + "x" * 1024)) == 48


def test_an_error_shows_the_users_frames() -> None:
    lines = human(ErrorReported("GET /", users_error(), ALICE))
    assert lines[0] == "error in GET / of SessionBackend/alice: "
    assert any(line.endswith("in users_error") for line in lines)
    assert lines[-1] == "  KeyError: 'MISSING'"


def test_a_failed_start_shows_the_programs_last_words() -> None:
    error = ContainerFailedToStart("it ended with exit code 1", exit_code=1, output=("no config",))
    assert human(ErrorReported("start", error)) == [
        "error in start: it ended with exit code 1",
        "  its last output:",
        "  no config",
    ]


def test_a_notice_shows_its_level_and_its_detail() -> None:
    assert human(Notice("warning", "slow", "line 1\nline 2")) == ["warning: slow", "  line 1", "  line 2"]


def test_a_worker_that_does_not_load_is_shown_without_the_platforms_frames(tmp_path: Path) -> None:
    for text, where in (("a = $\n", "line 1"), ("import nothing_of_that_name\n", "line 1, in <module>")):
        (tmp_path / "worker.py").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_application(tmp_path / "worker.py")
        cause = caught.value.__cause__
        assert cause is not None
        report = users_traceback(cause)
        assert where in report
        assert "loader.py" not in report
        assert "importlib" not in report


def test_a_terminal_shows_a_container_in_one_colour_and_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    writer = Writer(stream)
    TerminalScreen(writer).output("SessionBackend/alice", "stdout", "\x1b[31mred\x1b[0m")
    writer.close()
    assert "\x1b[31mred\x1b[0m" in stream.getvalue()
    assert stream.getvalue().startswith("\x1b[")
    assert colour("SessionBackend/alice") == colour("SessionBackend/alice")


def test_durations_are_shown_in_their_largest_whole_unit() -> None:
    shown_as = {1800.0: "30m", 3600.0: "1h", 90.0: "90s", 0.5: "0.5s", 172800.0: "2d", 60.0: "1m"}
    assert {seconds: duration(seconds) for seconds in shown_as} == shown_as


def test_an_object_without_options_is_a_durable_object() -> None:
    assert describe(None) == "durable object"


# --- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_line_has_time_level_message_and_the_containers_name() -> None:
    [line] = logged(moved("stopped_with_code", 1.5, 3))
    assert line == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "warning",
        "message": "container stopped_with_code",
        "state": "stopped_with_code",
        "was": "old",
        "exit_code": 3,
        "container": "SessionBackend/alice",
        "class": "SessionBackend",
        "name": "alice",
        "object_id": "ab" * 32,
    }


def test_whatever_a_container_prints_is_one_log_line() -> None:
    printed = 'quote " newline \n escape \x1b[31m {"message": "listening"}'
    [line] = logged(OutputLine(ALICE, "stderr", printed))
    assert line["line"] == printed
    assert line["message"] == "container output"


def test_an_error_is_logged_with_its_code_and_traceback() -> None:
    error = ContainerFailedToStart("it ended", exit_code=1, output=("no config",))
    first, second = logged(ErrorReported("GET /", users_error()), ErrorReported("start", error, ALICE))
    assert first["code"] == "worker_error"
    assert "users_error" in str(first["traceback"])
    assert second["code"] == "container_failed_to_start"
    assert second["output"] == ["no config"]
    assert second["container"] == "SessionBackend/alice"


def test_what_is_printed_meanwhile_becomes_whole_lines() -> None:
    stream = io.StringIO()
    reporter = JsonReporter(Writer(stream), ManualClock(start=0.0))
    with captured(reporter):
        print("one", end=" ")
        print("line\nand", end="")
        print("x" * LONGEST_LINE)
        logging.getLogger("shop").warning("%d of %d", 3, 4)
        print("no end", end="")
    reporter.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("line") or line["message"] for line in lines] == [
        "one line",
        "and" + "x" * (LONGEST_LINE - 3),
        "xxx",
        "3 of 4",
        "no end",
    ]


def test_an_error_with_half_of_a_surrogate_pair_is_logged() -> None:
    [line] = logged(ErrorReported("Shop.fetch", ValueError("half a pair: \ud800")))
    assert (line["message"], line["error"]) == ("Shop.fetch: half a pair: \ud800", "ValueError")


def test_a_log_message_whose_arguments_do_not_fit_is_logged_with_them() -> None:
    stream = io.StringIO()
    reporter = JsonReporter(Writer(stream), ManualClock(start=0.0))
    reporter.logged(logging.LogRecord("shop", logging.ERROR, __file__, 1, "%d of %d", ("no number",), None))
    reporter.close()
    line = json.loads(stream.getvalue())
    assert (line["level"], line["message"]) == ("error", "%d of %d ('no number',)")


# --- counting and writing ---------------------------------------------------------------------------------------------


def test_the_census_counts_containers_that_are_up() -> None:
    census = Census()
    bob = Subject("SessionBackend", "cd" * 32, "bob")
    for event in (moved("starting"), moved("healthy"), StateChanged(bob, "", "starting", None, 0.0)):
        census.notify(event)
    assert len(census) == 2
    census.notify(moved("stopped"))
    assert len(census) == 1


class StuckStream(io.StringIO):
    """Takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.released.wait()
        return super().write(text)


def test_a_reader_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorings.cli.reporting.writer.LIMIT", 3)
    stream = StuckStream()
    writer = Writer(stream)
    writer.write("first\n")
    stream.reached.wait()
    for number in range(10):
        writer.write(f"{number}\n")
    stream.released.set()
    writer.close()
    assert stream.getvalue() == "first\n0\n1\n2\n(7 lines were dropped here: nobody read them in time)\n"


def test_a_reader_that_goes_away_disturbs_nobody() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = Writer(stream)
        os.close(reading)
        writer.write("nobody reads this\n")
        writer.write("nor this\n")
        writer.close()
        stream.write("what is left in the stream can be flushed")
