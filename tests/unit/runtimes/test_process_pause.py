"""A pause reaches every process of a container, wherever it has gone."""

from __future__ import annotations

import signal

import psutil

from moorings.runtimes.process import ProcessRuntime, proc
from tests.contract.runtime_labs import Events, ProcessLab
from tests.support.waiting import wait_until
from tests.unit.runtimes.support import pids_of, python

# Processes that left the session, the group or their parent, and one that makes others without end.
_FAMILY = """
import os, signal, sys, time
def child(name, how):
    read, write = os.pipe()
    if os.fork() == 0:
        if how != "stays":
            os.setsid()
        if how == "daemon" and os.fork():
            os._exit(0)
        os.write(write, b"%d" % os.getpid())
        while how == "forks":
            if (pid := os.fork()) == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        while True:
            time.sleep(1000)
    print(name, int(os.read(read, 20)), flush=True)
for how in ("stays", "leaves", "daemon", "forks"):
    child(how, how)
signal.signal(signal.SIGCONT, lambda *_: print("continued", flush=True))
print("all", os.getpid(), flush=True)
while True:
    signal.pause()
"""


async def test_every_process_of_a_container_is_stopped_and_continued(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    spec = python(lab, _FAMILY)
    await runtime.start(spec)
    family = await pids_of(events, spec.token, "stays", "leaves", "daemon", "forks", "all")
    forking = psutil.Process(family[3])
    await runtime.pause(spec.token)
    assert all(proc.is_stopped(pid) for pid in family)
    assert all(proc.is_stopped(child.pid) for child in forking.children())
    await runtime.unpause(spec.token)
    wait_until(lambda: not any(proc.is_stopped(pid) for pid in family), "all go on")
    await events.line(spec.token, "continued")
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)
    assert not any(proc.is_alive(pid, proc.start_ticks(pid)) for pid in family)


async def test_a_program_that_ignores_what_it_can_is_stopped_and_ends_on_a_signal_sent_meanwhile(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    code = "import signal\nfor each in (signal.SIGTSTP, signal.SIGCONT): signal.signal(each, signal.SIG_IGN)\n"
    spec = python(lab, code + "print('up')\nwhile True: pass")
    running = await runtime.start(spec)
    await events.line(spec.token, "up")
    assert running.pid is not None
    await runtime.pause(spec.token)
    assert proc.is_stopped(running.pid)
    await runtime.signal(spec.token, signal.SIGTERM)
    await runtime.unpause(spec.token)
    assert (await events.exit_of(spec.token)).code == 128 + signal.SIGTERM
