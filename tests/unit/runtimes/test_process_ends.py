"""Nothing of a container survives its main process, whatever it tries."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from moorings.runtimes.base import ExitReason, OnClose
from moorings.runtimes.process import ProcessRuntime
from tests.contract.runtime_labs import Events, ProcessLab
from tests.support.waiting import wait_until
from tests.unit.runtimes.support import is_running, open_files, pids_of, python, resident, supervisor_pid

# Leaves a process behind in one of several ways, prints its pid, and then ends or stays.
_ESCAPE = """
import os, signal, sys, time
how, then = sys.argv[1:3]
def become_daemon():
    if how != "child":
        os.setsid()
    if how in ("daemon", "wiped"):
        if os.fork():
            os._exit(0)
    if how in ("daemon", "silent"):
        for descriptor in (0, 1, 2):
            os.close(descriptor)
            os.open("/dev/null", os.O_RDWR)
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    os.write(write, b"%d" % os.getpid())
    os.close(write)
    if how in ("wiped", "orphan"):
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    while True:
        time.sleep(1000)
read, write = os.pipe()
if how == "wiped":
    os.set_inheritable(write, True)
if os.fork() == 0:
    become_daemon()
os.close(write)
print("escaped", int(os.read(read, 20)), flush=True)
if then == "stay":
    signal.pause()
"""


@pytest.mark.parametrize("how", ["child", "session", "silent", "daemon", "wiped", "orphan"])
@pytest.mark.parametrize("then", ["end", "stay"])
async def test_processes_that_escape_are_killed_with_their_container(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events, how: str, then: str
) -> None:
    bystander = python(lab, "print('up'); import signal; signal.pause()")
    await runtime.start(bystander)
    spec = python(lab, _ESCAPE, how, then)
    await runtime.start(spec)
    [escaped] = await pids_of(events, spec.token, "escaped")
    if then == "stay":
        await runtime.kill(spec.token)
    exit = await events.exit_of(spec.token)
    assert exit.reason is (ExitReason.DESTROYED if then == "stay" else ExitReason.EXIT)
    assert not is_running(escaped)
    assert events.exits(bystander.token) == []


async def test_a_wiped_and_silent_daemon_is_killed_when_no_container_is_left(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    code = """
import os, signal, sys
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(write, b"%d" % os.getpid())
    for descriptor in (0, 1, 2, write):
        os.close(descriptor)
    for _ in range(3):
        os.open("/dev/null", os.O_RDWR)
    os.execve("/bin/sleep", ["sleep", "1000"], {})
print("escaped", int(os.read(read, 20)), flush=True)
"""
    spec = python(lab, code)
    await runtime.start(spec)
    await events.exit_of(spec.token)
    [escaped] = await pids_of(events, spec.token, "escaped")
    await runtime.close(OnClose.KILL)
    assert not is_running(escaped)


async def test_a_signal_reaches_the_whole_process_group(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    child = "(trap 'echo child; exit' USR1; echo up; sleep 1000 & wait) &"
    spec = lab.command("sh", "-c", f"trap 'wait; exit 0' USR1; {child} wait")
    await runtime.start(spec)
    await events.line(spec.token, "up")
    await runtime.signal(spec.token, signal.SIGUSR1)
    await events.line(spec.token, "child")
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)


async def test_a_kill_from_outside_is_a_signal_and_leaves_no_child(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = python(lab, _ESCAPE, "child", "stay")
    running = await runtime.start(spec)
    [child] = await pids_of(events, spec.token, "escaped")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (137, ExitReason.SIGNAL)
    assert not is_running(child)


async def test_a_core_dumping_signal_has_its_number(lab: ProcessLab, runtime: ProcessRuntime, events: Events) -> None:
    spec = lab.command("sh", "-c", "kill -SEGV $$")
    await runtime.start(spec)
    exit = await events.exit_of(spec.token)
    assert (exit.code, exit.reason) == (128 + signal.SIGSEGV, ExitReason.SIGNAL)


async def test_an_exit_waits_for_the_output_of_a_pipe_that_a_child_filled(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = lab.command("sh", "-c", "seq 1 10000")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == [str(number) for number in range(1, 10001)]
    assert events.log[-1].kind == "exited"


async def test_fifty_containers_start_at_once_and_end_at_once(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    specs = [lab.command("sh", "-c", "echo $PORT; exec sleep 1000", ports=(3000,)) for _ in range(50)]
    started = await asyncio.gather(*(runtime.start(spec) for spec in specs))
    assert len({running.pid for running in started}) == 50
    for running in started:
        await events.line(running.token, str(running.addresses[3000].port))
    await asyncio.gather(*(runtime.kill(running.token) for running in started))
    for running in started:
        assert (await events.exit_of(running.token)).reason is ExitReason.DESTROYED
        assert running.pid is not None
        assert not is_running(running.pid)


async def test_starting_and_ending_again_and_again_leaks_nothing(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    async def cycle(count: int) -> None:
        for _ in range(count):
            spec = lab.command("sh", "-c", "echo hello", ports=(3000,))
            await runtime.start(spec)
            await events.exit_of(spec.token)
            await runtime.forget(spec.token)

    await cycle(50)
    supervisor = supervisor_pid(lab)
    files = open_files(os.getpid()), open_files(supervisor)
    memory = resident(supervisor)
    await cycle(100)
    assert (open_files(os.getpid()), open_files(supervisor)) == files
    assert resident(supervisor) - memory < 1024 * 1024
    assert os.listdir(lab.data / "run") == [".trash"]


async def test_closing_with_kill_takes_the_supervisor_and_every_file_but_the_logs(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    running = [await runtime.start(python(lab, _ESCAPE, how, "stay")) for how in ("child", "daemon", "wiped")]
    escaped = [(await pids_of(events, each.token, "escaped"))[0] for each in running]
    supervisor = supervisor_pid(lab)
    await runtime.close(OnClose.KILL)
    assert not any(map(is_running, [supervisor, *escaped, *(each.pid or 0 for each in running)]))
    assert sorted(os.listdir(lab.data)) == ["logs", "place", "run", "supervisor"]
    assert sorted(os.listdir(lab.data / "supervisor")) == ["lock", "log"]
    assert os.listdir(lab.data / "run") == [".trash"]
    wait_until(lambda: os.listdir(lab.data / "run" / ".trash") == [], "the rest is deleted")
