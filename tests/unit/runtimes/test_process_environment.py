"""What a process is started with, and what it is not."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from moorings.errors import ContainerFailedToStart
from moorings.runtimes.base import OnClose
from moorings.runtimes.process import ProcessRuntime
from tests.contract.runtime_labs import Events, ProcessLab
from tests.support.waiting import wait_until
from tests.unit.runtimes.support import open_files, python, supervisor_pid

_STATE = """
import json, os, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "env": dict(os.environ), "cwd": os.getcwd(), "files": sorted(os.listdir("/proc/self/fd"))[:-1],
    "stdin": os.path.realpath("/proc/self/fd/0"), "session": os.getsid(0) == os.getpid() == os.getpgrp(),
    "blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16), "umask": status["Umask"].strip(),
    "tty": open("/proc/self/stat").read().rpartition(")")[2].split()[4],
    "limit": __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[0],
}))
"""


def _bit(signum: int) -> int:
    return 1 << (signum - 1)


async def _state(lab: ProcessLab, runtime: ProcessRuntime, events: Events, **changes: object) -> dict[str, object]:
    # -S only: what the interpreter adds by itself (LC_CTYPE) is not the runtime's
    spec = lab.command(sys.executable, "-S", "-c", _STATE, ports=(3000, 8081))
    spec = replace(spec, **changes)  # type: ignore[arg-type]  # fields by name
    await runtime.start(spec)
    await events.exit_of(spec.token)
    state = json.loads(events.lines(spec.token)[0])
    state["token"] = spec.token
    return dict(state)


async def test_the_environment_is_the_documented_one_and_nothing_of_the_platforms(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "hunter2")
    state = await _state(lab, runtime, events, env={"GREETING": "grüß\ngott"})
    env = state["env"]
    assert isinstance(env, dict)
    assert set(env) - {"LC_CTYPE"} == {
        *("PATH", "LANG", "HOME", "TMPDIR", "GREETING", "PORT", "PORT_3000", "PORT_8081"),
        *("MOORINGS_TOKEN", "MOORINGS_APP", "MOORINGS_CLASS", "MOORINGS_OBJECT_ID", "MOORINGS_NAME"),
    }
    assert env["GREETING"] == "grüß\ngott"
    assert env["PORT"] == env["PORT_3000"] != env["PORT_8081"]
    assert env["MOORINGS_TOKEN"] == state["token"]
    assert env["PATH"].split(":")[0] == str(Path(sys.executable).parent)


async def test_env_vars_win_over_defaults_but_not_over_ports_and_identity(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    given = {"HOME": "/elsewhere", "PORT": "80", "MOORINGS_TOKEN": "forged", "PATH": "/nowhere"}
    state = await _state(lab, runtime, events, env=given)
    env = state["env"]
    assert isinstance(env, dict)
    assert (env["HOME"], env["PATH"]) == ("/elsewhere", "/nowhere")
    assert env["PORT"] != "80"
    assert env["MOORINGS_TOKEN"] == state["token"]


async def test_a_name_that_no_variable_can_hold_is_left_out(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    state = await _state(lab, runtime, events, name="a\0b", env={"MOORINGS_NAME": "forged"})
    env = state["env"]
    assert isinstance(env, dict)
    assert "MOORINGS_NAME" not in env


async def test_a_process_has_its_own_session_and_inherits_nothing(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    state = await _state(lab, runtime, events)
    assert state["cwd"] == str(lab.folder.resolve())
    assert state["files"] == ["0", "1", "2"]
    assert state["stdin"] == "/dev/null"
    assert state["session"] is True
    assert state["tty"] == "0"
    assert state["umask"] == "0022"
    assert state["blocked"] == 0
    # Python itself ignores SIGPIPE and SIGXFSZ in the program; 32 and 33 are glibc's own, ignored by its posix_spawn
    assert isinstance(state["ignored"], int)
    assert state["ignored"] & ~(0b11 << 31) == _bit(signal.SIGPIPE) | _bit(signal.SIGXFSZ)
    assert state["limit"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_private_folders_are_there_while_it_runs_and_gone_when_it_ended(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    code = """
import os, sys
for name in ("HOME", "TMPDIR"):
    os.makedirs(os.environ[name] + "/deep/er")
    open(os.environ[name] + "/deep/file", "w").close()
    os.chmod(os.environ[name] + "/deep", 0o500)
print(os.environ["HOME"]); print(os.environ["TMPDIR"]); print("ready")
import signal; signal.pause()
"""
    spec = python(lab, code)
    await runtime.start(spec)
    await events.line(spec.token, "ready")
    home, tmp, _ = map(Path, events.lines(spec.token))
    assert home != tmp
    for folder in (home, tmp):
        assert folder.is_relative_to(lab.data)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await runtime.kill(spec.token)
    await events.exit_of(spec.token)
    assert not home.exists()
    assert not tmp.exists()
    await runtime.forget(spec.token)
    wait_until(lambda: os.listdir(lab.data / "run") == [".trash"], "the incarnation's folder is gone")
    wait_until(lambda: os.listdir(lab.data / "run" / ".trash") == [], "its content is deleted")


async def test_placeholders_are_filled_with_host_ports(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    command = lab.command("echo", "{port}", "--admin=:{port:8081}", '{"json": {}}', "{porter}", ports=(3000, 8081))
    running = await runtime.start(command)
    await events.exit_of(command.token)
    first, second = (address.port for address in running.addresses.values())
    assert events.lines(command.token) == [f'{first} --admin=:{second} {{"json": {{}}}} {{porter}}']


async def test_python_is_the_platforms_interpreter(lab: ProcessLab, runtime: ProcessRuntime, events: Events) -> None:
    spec = lab.command("python", "-c", "import sys; print(sys.prefix)")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == [sys.prefix]


async def test_a_program_is_found_in_its_folder_when_it_has_a_slash(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events
) -> None:
    folder = lab.folder / "bin"
    folder.mkdir()
    (folder / "tool").write_text("#!/bin/sh\necho it is $0\n")
    (folder / "tool").chmod(0o755)
    spec = lab.command("bin/tool")
    await runtime.start(spec)
    await events.exit_of(spec.token)
    assert events.lines(spec.token) == [f"it is {folder}/tool"]


def _files(folder: Path) -> None:
    (folder / "plain").write_text("#!/bin/sh\n")
    (folder / "text").write_text("no program\n")
    (folder / "text").chmod(0o755)
    (folder / "orphan").write_text("#!/no/such/interpreter\n")
    (folder / "orphan").chmod(0o755)


@pytest.mark.parametrize(
    ("entrypoint", "sentence"),
    [
        ((), "entrypoint is empty"),
        (("",), "entrypoint is empty"),
        (("no-such-program",), r"no program no-such-program on PATH \(.*/usr/bin"),
        (("plain",), r"no program plain on PATH .*write './plain'"),
        (("./absent",), r"no program ./absent in the folder /"),
        (("/no/such",), r"no program /no/such"),
        (("./plain",), r"/plain is not executable; chmod \+x"),
        (("./",), "is a folder, not a program"),
        (("./text",), r"/text is not a program that this system can run \(has it a #! line\?\)"),
        (("./orphan",), "the interpreter that its first line names does not exist"),
        (("echo", "{port:9999}"), r"\{port:9999\}, but the class declares no port 9999 \(it declares 3000\)"),
        (("echo", "a\0b"), "contains a NUL"),
        (("echo", "x" * 4_000_000), "too long"),
    ],
)
async def test_a_start_that_fails_says_why_and_leaves_nothing(
    lab: ProcessLab, runtime: ProcessRuntime, events: Events, entrypoint: tuple[str, ...], sentence: str
) -> None:
    _files(lab.folder)
    with pytest.raises(ContainerFailedToStart, match=sentence):
        await runtime.start(lab.command(*entrypoint, ports=(3000,)))
    assert os.listdir(lab.data / "run") == [".trash"]
    assert events.log == []


async def test_a_port_placeholder_without_ports_fails(lab: ProcessLab, runtime: ProcessRuntime) -> None:
    with pytest.raises(ContainerFailedToStart, match="declares no port"):
        await runtime.start(lab.command("echo", "{port}"))


@pytest.mark.parametrize(("folder", "sentence"), [("absent", "does not exist"), ("file", "is not a folder")])
async def test_a_start_in_a_folder_that_is_none_fails(
    lab: ProcessLab, runtime: ProcessRuntime, folder: str, sentence: str
) -> None:
    (lab.folder / "file").write_text("")
    with pytest.raises(ContainerFailedToStart, match=sentence):
        await runtime.start(lab.command("echo", directory=lab.folder / folder))


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "\0"}])
async def test_variables_that_cannot_be_are_refused(
    lab: ProcessLab, runtime: ProcessRuntime, env: dict[str, str]
) -> None:
    with pytest.raises(ContainerFailedToStart, match="env_vars"):
        await runtime.start(replace(lab.command("echo"), env=env))


async def test_failed_starts_leave_no_descriptor_open(lab: ProcessLab, runtime: ProcessRuntime) -> None:
    before = open_files(os.getpid()), open_files(supervisor_pid(lab))
    for _ in range(20):
        with pytest.raises(ContainerFailedToStart):
            await runtime.start(lab.command("no-such-program", ports=(3000,)))
    assert (open_files(os.getpid()), open_files(supervisor_pid(lab))) == before
    await runtime.close(OnClose.KEEP)
