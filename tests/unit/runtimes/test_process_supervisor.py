"""The supervisor outlives platforms, and what outlives the supervisor is cleaned up."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from moorings.errors import RuntimeUnavailable
from moorings.runtimes.base import ExitReason, OnClose
from moorings.runtimes.process import ProcessRuntime, wire
from tests.contract.runtime_labs import Events, ProcessLab, reopened
from tests.support.waiting import wait_until
from tests.unit.runtimes.support import is_running, log_text, parent_of, pids_of, python, start_sleeper, supervisor_pid

# Tokens are unique on the machine: a supervisor kills whatever carries one of a start that was never recorded.
_MARK = secrets.token_hex(8)

_PLATFORM = """
import asyncio, sys
from pathlib import Path
from moorings.runtimes.base import StartSpec
from moorings.runtimes.process import ProcessRuntime

class Events:
    def exited(self, token, exit): pass
    def output(self, token, stream, line): pass
    def unavailable(self, reason): pass

async def main():
    runtime = ProcessRuntime(Path(sys.argv[1]))
    await runtime.open(Events())
    for number in range(int(sys.argv[2])):
        running = await runtime.start(StartSpec(
            token=f"{sys.argv[4]}-{number}", app="test", class_name="Thing",
            object_id=f"{number:064x}", name=f"kept{number}",
            entrypoint=(sys.executable, "-I", "-S", "-u", "-c", sys.argv[3]), directory=Path("/"), ports=(3000,)))
        print(running.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""

_COUNT = """
import time
number = 0
while True:
    number += 1
    print(number)
    time.sleep(0.005)
"""


def _platform(lab: ProcessLab, count: int, code: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A platform in a process of its own, with containers that it started, and their pids."""
    platform = subprocess.Popen(
        [sys.executable, "-c", _PLATFORM, str(lab.data), str(count), code, _MARK], stdout=subprocess.PIPE, text=True
    )
    assert platform.stdout is not None
    return platform, [int(platform.stdout.readline()) for _ in range(count)]


def _kill(platform: subprocess.Popen[str]) -> None:
    platform.kill()
    platform.communicate()


def _numbers(text: str) -> list[int]:
    return [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if " stdout F " in line]


async def test_containers_outlive_a_platform_that_is_killed_and_no_line_is_lost(lab: ProcessLab) -> None:
    platform, pids = await asyncio.to_thread(_platform, lab, 5, _COUNT)
    await asyncio.to_thread(_kill, platform)
    logs = [lab.data / "logs" / "Thing" / f"kept{number}" / "current.log" for number in range(5)]
    await asyncio.to_thread(wait_until, lambda: all(log.exists() for log in logs), "all have printed")
    before = {log: len(_numbers(log.read_text())) for log in logs}
    for log in logs:
        await asyncio.to_thread(
            wait_until, lambda log=log: len(_numbers(log.read_text())) > before[log] + 20, "lines after the kill"
        )
    runtime, events, found = await reopened(lab)
    assert sorted(running.pid or 0 for running in found.running) == sorted(pids)
    assert all(map(is_running, pids))
    assert all(3000 in running.addresses for running in found.running)
    for running in found.running:
        while not events.lines(running.token):
            await events.change()
        await runtime.kill(running.token)
        await events.exit_of(running.token)
    await runtime.close(OnClose.KILL)
    for log in logs:
        numbers = _numbers(log.read_text())
        assert numbers == list(range(1, len(numbers) + 1))


async def test_every_exit_is_either_found_or_reported_whenever_it_falls_into_an_open(lab: ProcessLab) -> None:
    for _ in range(5):
        runtime, _, _ = await reopened(lab)
        specs = [lab.command("sleep", f"0.0{number}") for number in range(10)]
        for spec in specs:
            await runtime.start(spec)
        await runtime.close(OnClose.KEEP)
        again, events, found = await reopened(lab)
        ended = {running.token for running, _ in found.ended}
        for running in found.running:
            await events.exit_of(running.token)
            assert running.token not in ended
        assert ended | {running.token for running in found.running} >= {spec.token for spec in specs}
        for spec in specs:
            await again.forget(spec.token)
        await again.close(OnClose.KEEP)


async def test_what_ended_after_the_platform_was_killed_keeps_its_exit_although_the_supervisor_left(
    lab: ProcessLab,
) -> None:
    go = lab.data / "go"
    code = f"""
import os, time
print('last words')
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
raise SystemExit(7)
"""
    platform, [pid] = await asyncio.to_thread(_platform, lab, 1, code)
    first = supervisor_pid(lab)
    await asyncio.to_thread(_kill, platform)
    go.touch()
    await asyncio.to_thread(wait_until, lambda: not is_running(pid), "the container ends")
    await asyncio.to_thread(wait_until, lambda: not is_running(first), "the supervisor leaves")
    assert not (lab.data / "supervisor" / "socket").exists()
    runtime, _, found = await reopened(lab)
    [(ended, exit)] = found.ended
    assert (ended.token, ended.pid, exit.code, exit.reason) == (f"{_MARK}-0", pid, 7, ExitReason.EXIT)
    assert await runtime.tail(ended.token, 5) == ("last words",)
    assert supervisor_pid(lab) != first
    await runtime.forget(ended.token)
    await runtime.close(OnClose.KILL)


async def test_a_killed_supervisor_is_said_and_its_containers_are_killed_and_reported(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    code = """
import os, signal
if os.fork() == 0:
    os.setsid()
    print("escaped", os.getpid(), flush=True)
signal.pause()
"""
    specs = [python(lab, code) for _ in range(3)]
    started = [await runtime.start(spec) for spec in specs]
    escaped = [(await pids_of(events, spec.token, "escaped"))[0] for spec in specs]
    first = supervisor_pid(lab)
    os.kill(first, signal.SIGKILL)
    reason = await events.unavailability()
    assert f"process {first}" in reason
    for running in started:
        exit = await events.exit_of(running.token)
        assert exit.reason is ExitReason.PLATFORM
        assert running.pid is not None
        assert not is_running(running.pid)
    assert not any(map(is_running, escaped))

    again = lab.command("echo", "second life")
    await runtime.start(again)
    await events.exit_of(again.token)
    assert events.lines(again.token) == ["second life"]
    assert supervisor_pid(lab) != first
    assert all(len(events.exits(spec.token)) == 1 for spec in (*specs, again))
    await runtime.close(OnClose.KEEP)
    last, _, found = await reopened(lab)
    await last.close(OnClose.KEEP)
    assert [ended.token for ended, _ in found.ended] == [again.token]


async def test_calls_while_the_supervisor_is_gone_do_nothing(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = lab.command("sleep", "1000")
    await runtime.start(spec)
    os.kill(supervisor_pid(lab), signal.SIGKILL)
    await runtime.signal(spec.token, signal.SIGTERM)
    await runtime.kill(spec.token)
    await runtime.forget(spec.token)
    assert await runtime.tail(spec.token, 5) == ()
    assert await runtime.owns_listener(spec.token, 3000) is False
    assert (await events.exit_of(spec.token)).reason is ExitReason.PLATFORM


async def test_a_supervisor_that_died_with_its_platform_is_cleaned_up_by_the_next_open(lab: ProcessLab) -> None:
    code = """
import os, signal
if os.fork() == 0:
    os.setsid()
open(os.environ["HOME"] + "/file", "w").close()
signal.pause()
"""
    platform, pids = await asyncio.to_thread(_platform, lab, 3, code)
    os.kill(supervisor_pid(lab), signal.SIGKILL)
    platform.kill()
    await asyncio.to_thread(platform.communicate)
    runtime, _, found = await reopened(lab)
    await runtime.close(OnClose.KEEP)
    assert {exit.reason for _, exit in found.ended} == {ExitReason.PLATFORM}
    assert sorted(ended.pid or 0 for ended, _ in found.ended) == sorted(pids)
    assert list(found.running) == []
    assert not any(map(is_running, pids))
    assert list((lab.data / "run").rglob("home")) == []


async def test_a_process_whose_record_was_never_written_is_found_by_its_token(lab: ProcessLab) -> None:
    token = f"{_MARK}-lost"
    (lab.data / "run" / token).mkdir(parents=True)
    lost, other = start_sleeper(token), start_sleeper("another platform's")
    try:
        runtime, _, found = await reopened(lab)
        await runtime.close(OnClose.KILL)
        assert await asyncio.to_thread(lost.wait, 10) == -signal.SIGKILL
        assert other.poll() is None
        assert list(found.ended) == []
        assert not (lab.data / "run" / token).exists()
    finally:
        for process in (lost, other):
            process.kill()
            await asyncio.to_thread(process.wait)


async def test_a_supervisor_with_nothing_to_hold_and_nobody_to_serve_leaves(lab: ProcessLab) -> None:
    runtime, _, _ = await reopened(lab)
    supervisor = supervisor_pid(lab)
    await runtime.close(OnClose.KEEP)
    await asyncio.to_thread(wait_until, lambda: not is_running(supervisor), "the supervisor leaves")
    assert not (lab.data / "supervisor" / "socket").exists()


async def test_a_supervisor_whose_folder_was_deleted_kills_its_containers_and_leaves(
    lab: ProcessLab, runtime: ProcessRuntime
) -> None:
    running = await runtime.start(lab.command("sleep", "1000"))
    supervisor = supervisor_pid(lab)
    await runtime.close(OnClose.KEEP)
    lab.data.rename(lab.folder / "moved")
    await asyncio.to_thread(wait_until, lambda: not is_running(supervisor), "the supervisor leaves")
    assert running.pid is not None
    assert not is_running(running.pid)


async def test_a_terminated_supervisor_lets_containers_end_in_their_way(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(6)); print('up'); signal.pause()"
    spec = python(lab, code)
    await runtime.start(spec)
    await events.line(spec.token, "up")
    os.kill(supervisor_pid(lab), signal.SIGTERM)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (6, ExitReason.EXIT)
    await events.unavailability()
    assert len(events.exits(spec.token)) == 1


async def test_the_supervisor_is_detached_and_its_socket_is_private(lab: ProcessLab, runtime: ProcessRuntime) -> None:
    supervisor = supervisor_pid(lab)
    assert parent_of(supervisor) != os.getpid()
    assert os.getsid(supervisor) != os.getsid(0)
    assert os.readlink(f"/proc/{supervisor}/cwd") == "/"
    assert stat.S_IMODE((lab.data / "supervisor" / "socket").stat().st_mode) == 0o600
    assert stat.S_IMODE((lab.data / "supervisor").stat().st_mode) == 0o700


async def test_a_second_supervisor_finds_the_lock_held(lab: ProcessLab, runtime: ProcessRuntime) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moorings.runtimes.process.supervisor", "--dir", str(lab.data)
    )
    assert await second.wait() == 75
    assert is_running(supervisor_pid(lab))


async def test_a_data_folder_whose_name_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    lab = ProcessLab(tmp_path / ("x" * 100) / ("y" * 100))
    lab.folder.mkdir(parents=True)
    runtime, events, _ = await reopened(lab)
    spec = lab.command("echo", "hello")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    await runtime.close(OnClose.KILL)
    assert events.lines(spec.token) == ["hello"]


async def test_a_data_folder_that_is_a_file_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(RuntimeUnavailable, match=r"data folder .*data can't be used"):
        await ProcessLab(tmp_path).runtime().open(Events())


async def test_a_supervisor_of_another_release_is_said_clearly(lab: ProcessLab) -> None:
    runtime, _, _ = await reopened(lab)
    await runtime.start(lab.command("sleep", "1000"))
    await runtime.close(OnClose.KEEP)
    reader, writer = await asyncio.open_unix_connection(lab.data / "supervisor" / "socket")
    writer.write(wire.frame(wire.ToSupervisor(1, wire.Hello(wire.VERSION + 1, 1, 1, 1))))
    answer = await reader.read(4096)
    writer.close()
    await writer.wait_closed()
    assert b"another release" in answer


async def test_strangers_and_nonsense_disturb_nobody(lab: ProcessLab, runtime: ProcessRuntime, events: Events) -> None:
    for nonsense in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\0\0\0\xc1",
        wire.frame(wire.ToSupervisor(1, wire.Shutdown())),
    ):
        reader, writer = await asyncio.open_unix_connection(lab.data / "supervisor" / "socket")
        writer.write(nonsense)
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    spec = lab.command("echo", "undisturbed")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == ["undisturbed"]


async def test_a_start_that_the_supervisor_does_not_survive_leaves_nothing(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    supervisor = supervisor_pid(lab)
    os.kill(supervisor, signal.SIGSTOP)
    spec = replace(lab.command("sleep", "1000"), token=f"{_MARK}-doomed")
    starting = asyncio.ensure_future(runtime.start(spec))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    os.kill(supervisor, signal.SIGKILL)
    with pytest.raises(RuntimeUnavailable):
        await starting
    await events.unavailability()
    assert events.exits(spec.token) == []
    assert spec.token not in log_text(lab)
