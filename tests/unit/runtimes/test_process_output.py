"""Output of real processes: kept in bounded logs, remembered, shown; a program that prints wildly harms nobody."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorings.runtimes.base import OnClose
from moorings.runtimes.process import ProcessRuntime, ProcessSettings, wire
from moorings.runtimes.process.output import LONGEST_LINE
from tests.contract.runtime_labs import Events, ProcessLab, reopened
from tests.support.waiting import wait_until
from tests.unit.runtimes.support import log_text, python, resident, supervisor_pid

_LOG_BYTES = 64 * 1024


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[ProcessLab]:
    settings = ProcessSettings(linger=0.5, log_bytes=_LOG_BYTES, log_files=3)
    made = ProcessLab(tmp_path, settings)
    yield made
    await made.clean_up()


async def test_a_last_line_without_an_end_is_a_line(lab: ProcessLab, runtime: ProcessRuntime, events: Events) -> None:
    spec = lab.command("printf", "one\\r\\ntwo")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == ["one", "two"]


async def test_an_exit_does_not_wait_for_a_pipe_that_a_stranger_holds(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    address = lab.folder / "take-it"
    code = """
import socket, sys
with socket.socket(socket.AF_UNIX) as giver:
    giver.connect(sys.argv[1])
    socket.send_fds(giver, [b"here"], [1])
print("mine too")
"""
    with socket.socket(socket.AF_UNIX) as taker:
        taker.bind(str(address))
        taker.listen()
        spec = python(lab, code, str(address))
        await runtime.start(spec)
        connection, _ = await asyncio.to_thread(taker.accept)
        with connection:
            _, [pipe], _, _ = await asyncio.to_thread(socket.recv_fds, connection, 10, 1)
        try:
            assert (await events.exit_of(spec.token)).code == 0
            assert events.lines(spec.token) == ["mine too"]
        finally:
            os.close(pipe)


async def test_bytes_that_are_no_utf8_are_replaced(lab: ProcessLab, runtime: ProcessRuntime, events: Events) -> None:
    spec = python(lab, r"import os; os.write(1, b'a\xff\xfeb\x00c\n')")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == ["a\ufffd\ufffdb\0c"]
    assert await runtime.tail(spec.token, 1) == ("a\ufffd\ufffdb\0c",)


async def test_a_long_line_comes_in_pieces_cut_between_characters(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = python(lab, "print('x' + 'ü' * 20000)")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    pieces = events.lines(spec.token)
    assert "".join(pieces) == "x" + "ü" * 20000
    assert len(pieces) == 3
    assert all(len(piece.encode()) <= LONGEST_LINE for piece in pieces)
    logged = log_text(lab)
    assert logged.count(" stdout P ") == 2
    assert logged.count(" stdout F ") == 1


async def test_the_log_has_time_stream_and_text_and_the_bounds_of_each_incarnation(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = lab.command("sh", "-c", "echo out; echo err >&2; exit 3")
    running = await runtime.start(spec)
    await events.exit_of(spec.token)
    lines = [line.split(" ", 3) for line in log_text(lab).splitlines()]
    assert sorted((line[1], line[3]) for line in lines[1:-1]) == [("stderr", "err"), ("stdout", "out")]
    assert lines[0][3] == f"started as process {running.pid}, token {spec.token}"
    assert lines[-1][3] == f"process {running.pid} ended with 3 (exit)"
    assert all(len(line[0]) == 27 and line[0].endswith("Z") for line in lines)


async def test_logs_rotate_within_their_bounds_and_end_with_the_last_line(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = lab.command("seq", "1", "200000")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    files = sorted((lab.data / "logs").rglob("current.log*"))
    assert [file.name for file in files] == ["current.log", "current.log.1", "current.log.2"]
    assert all(file.stat().st_size <= _LOG_BYTES for file in files)
    numbers = [int(line.rsplit(" ", 1)[1]) for line in log_text(lab).splitlines() if " stdout F " in line]
    assert numbers == list(range(numbers[0], 200001))
    assert await runtime.tail(spec.token, 2) == ("199999", "200000")


async def test_what_comes_too_fast_to_be_shown_is_counted(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = lab.command("seq", "1", "100000")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    shown = [line for line in events.lines(spec.token) if line.isdigit()]
    notes = [line for line in events.lines(spec.token) if not line.isdigit()]
    assert shown[:1000] == [str(number) for number in range(1, 1001)]
    assert notes
    assert len(shown) + sum(int(note.strip("[").split()[0]) for note in notes) == 100000


async def test_programs_that_print_without_end_harm_nobody(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    wild = [
        lab.command("yes"),
        python(lab, "import os\nwhile True: os.write(1, b'x' * 65536)"),
        python(lab, "import os\nwhile True: os.write(2, b'\\n' * 65536)"),
    ]
    supervisor = supervisor_pid(lab)
    for spec in wild:
        await runtime.start(spec)
    before = resident(supervisor)
    for _ in range(5):
        calm = lab.command("echo", "calm")
        await runtime.start(calm)
        await events.exit_of(calm.token)
        assert events.lines(calm.token) == ["calm"]
    assert resident(supervisor) - before < 8 * 1024 * 1024
    for spec in wild:
        await runtime.kill(spec.token)
        await events.exit_of(spec.token)


async def test_a_platform_that_does_not_read_stops_no_container_and_costs_no_memory(lab: ProcessLab) -> None:
    runtime = lab.runtime()
    await runtime.open(Events())
    go = lab.data / "go"
    spec = python(
        lab,
        f"""
import os, time
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
for number in range(300):
    os.write(1, b"y" * 60000 + b"\\n")
    os.write(2, b"z" * 1000 + b"\\n")
""",
    )
    await runtime.start(spec)
    await runtime.close(OnClose.KEEP)
    supervisor = supervisor_pid(lab)
    before = resident(supervisor)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(lab.data / "supervisor" / "socket"))
        deaf.sendall(wire.frame(wire.ToSupervisor(1, wire.Hello(wire.VERSION, os.getpid(), _LOG_BYTES, 3))))
        go.touch()
        await asyncio.to_thread(wait_until, lambda: "ended with 0 (exit)" in log_text(lab), "the program ends")
    assert resident(supervisor) - before < 8 * 1024 * 1024
    again, _, found = await reopened(lab)
    await again.close(OnClose.KEEP)
    assert [(ended.token, exit.code) for ended, exit in found.ended] == [(spec.token, 0)]


async def test_a_log_that_cannot_be_written_costs_lines_but_no_container(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    (lab.data / "logs" / "Thing").write_text("a file where a folder should be")
    spec = lab.command("echo", "hello")
    await runtime.start(spec)
    assert (await events.exit_of(spec.token)).code == 0
    assert events.lines(spec.token) == ["hello"]


async def test_the_supervisor_imports_nothing_heavy() -> None:
    code = """
import sys
import moorings.runtimes.process.supervisor
heavy = {"asyncio", "logging", "pathlib", "dataclasses", "subprocess", "inspect", "hashlib", "typing_extensions"}
print(sorted(name for name in heavy if sys.modules.get(name)))
"""
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await program.communicate()
    assert out == b"[]\n"
