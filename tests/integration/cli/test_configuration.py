"""The configuration file as users meet it: a platform that takes it, a reload, and mistakes that are told at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from tests.support.platform import Mode, Platform
from tests.support.raw import get

MOORINGS = Path(sysconfig.get_path("scripts")) / "moorings"
WORKER = """
from moorings import Container, DurableObject, Response, WorkerEntrypoint


class Box(Container):
    entrypoint = ["python", "server.py"]
    default_port = 3000
    sleep_after = "30m"


class Counter(DurableObject):
    pass


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        names = {name: getattr(self.env[name], "class_name", self.env[name]) for name in self.env}
        return Response.json(names)

    async def scheduled(self, controller):
        print(f"ran {controller.cron} at {controller.scheduled_time:%H:%M}", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker's folder, without a configuration."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "worker.py").write_text(WORKER)
    return tmp_path / "app"


def moorings(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([MOORINGS, *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)


async def env_of(platform: Platform) -> object:
    answer = await get(platform.address, "/")
    assert answer.status == 200, answer.text()
    return answer.json()


async def test_names_and_variables_of_the_file_are_in_env_and_secrets_win_over_variables(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "wrangler.jsonc").write_text(
        """{
          "compatibility_date": "2026-01-01", // means nothing here
          "vars": {"A": "vars", "B": "vars", "C": {"deep": [1]}, "D": "vars"},
          "durable_objects": {"bindings": [{"name": "COUNTERS", "class_name": "Counter"}]},
        }"""
    )
    (folder / ".dev.vars").write_text("A=secret\nB=secret\n")
    (folder / "more.env").write_text("B=file\n")
    options = ["--env-file", str(folder / "more.env")]
    with Platform(folder / "worker.py", tmp_path / "platform", mode=Mode.DEV, options=options) as platform:
        assert await env_of(platform) == {
            "A": "secret",
            "B": "file",
            "C": {"deep": [1]},
            "D": "vars",
            "BOX": "Box",
            "COUNTERS": "Counter",
        }
        warnings = [line for line in platform.output.splitlines() if "ignored" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith("ignored: compatibility_date")


async def test_a_changed_configuration_is_taken_and_one_that_appears_too(folder: Path, tmp_path: Path) -> None:
    with Platform(folder / "worker.py", tmp_path / "platform", mode=Mode.DEV) as platform:
        (folder / "moorings.toml").write_text(
            'vars.GREETING = "one"\n[[containers]]\nclass_name = "Box"\nsleep_after = 9'
        )
        await asyncio.to_thread(platform.wait_for_output, r"^reloaded moorings.toml")
        await asyncio.to_thread(platform.wait_for_output, r"containers\[0\].sleep_after overrides Box.sleep_after")
        assert await env_of(platform) == {"BOX": "Box", "COUNTER": "Counter", "GREETING": "one"}
        (folder / "moorings.toml").write_text("vars.GREETING = 1979-05-27")
        await asyncio.to_thread(platform.wait_for_output, r"moorings.toml does not load")
        await asyncio.to_thread(platform.wait_for_output, r"vars.GREETING: expected a JSON value, got 1979-05-27")
        assert await env_of(platform) == {"BOX": "Box", "COUNTER": "Counter", "GREETING": "one"}


async def test_serve_takes_its_options_from_the_file_and_the_command_line_wins(folder: Path, tmp_path: Path) -> None:
    (folder / "moorings.toml").write_text(
        f'main = "worker.py"\n[moorings.serve]\nhost = "192.0.2.1"\nport = 1\ndata_dir = "{tmp_path / "nowhere"}"\n'
        "stop_containers = true\n"
    )
    with Platform(folder, tmp_path / "platform") as platform:  # with --host, --port and --data-dir of its own
        assert await env_of(platform) == {"BOX": "Box", "COUNTER": "Counter"}
    assert not (tmp_path / "nowhere").exists()
    done = await asyncio.to_thread(moorings, "serve", folder=folder)
    assert done.returncode == 1
    assert "192.0.2.1 is no address of this machine" in done.stderr
    assert (tmp_path / "nowhere").is_dir()


FIVE_MISTAKES = """
mian = "worker.py"
triggers.crons = ["61 * * * *"]

[[containers]]
class_name = "Box"
max_instances = "many"

[[containers]]
class_name = "Bix"

[moorings.serve]
port = "http"
"""


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_five_mistakes_in_one_file_are_one_message_and_nothing_is_touched(folder: Path, command: str) -> None:
    (folder / "moorings.toml").write_text(FIVE_MISTAKES)
    before = sorted(folder.rglob("*"))
    done = moorings(command, "--port", "0", folder=folder)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Error: {folder / 'moorings.toml'}:",
        "mian: unknown key; did you mean main?",
        'containers[0].max_instances: expected an integer of at least 1, got "many"',
        'moorings.serve.port: expected a port from 0 (a free one) to 65535, got "http"',
        'triggers.crons[0]: expected a cron expression (minute hour day month weekday), got "61 * * * *": bad minute',
        'containers[1].class_name: expected a Container class of worker.py (Box), got "Bix"',
    ]
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("moorings.toml", "a = ", "is no TOML"), ("wrangler.jsonc", "{", "is no JSON")],
)
def test_a_file_that_cannot_be_read_is_one_sentence(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    done = moorings("dev", folder=folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {folder / name}: {message}")
    assert "Traceback" not in done.stderr


def minutes_ago(count: int) -> tuple[int, str]:
    """The minute that began ``count`` minutes ago (Unix seconds), and a cron that comes in it and then in a year."""
    moment = int(time.time() // 60 * 60) - count * 60
    return moment, time.strftime("%-M %-H %-d %-m *", time.gmtime(moment))


def crons(data: Path) -> list[tuple[str, int]]:
    with contextlib.closing(sqlite3.connect(data / "moorings.sqlite")) as database:
        return database.execute("SELECT expression, last_run FROM cron").fetchall()


@pytest.mark.parametrize(("ago", "warning", "runs"), [(10, "it runs now", 1), (90, "left out", 0)])
def test_a_minute_missed_while_the_platform_was_dead_is_made_up_for_within_the_hour(
    folder: Path, tmp_path: Path, ago: int, warning: str, runs: int
) -> None:
    moment, cron = minutes_ago(ago)
    (folder / "moorings.toml").write_text(f"triggers.crons = {json.dumps([cron])}")
    platform = Platform(folder / "worker.py", tmp_path / "first")
    platform.kill()
    data = tmp_path / "second" / "data"
    data.parent.mkdir()
    platform.data.rename(data)
    assert [expression for expression, _ in crons(data)] == [cron]
    with contextlib.closing(sqlite3.connect(data / "moorings.sqlite")) as database:
        database.execute("UPDATE cron SET last_run = ?", (moment - 3600,))
        database.commit()
    with Platform(folder / "worker.py", tmp_path / "second") as platform:
        platform.wait_for_output(warning)
        if runs:
            platform.wait_for_output(f"ran {re.escape(cron)} at")
    assert platform.output.count(f"ran {cron} at") == runs
    assert crons(data) == [(cron, moment)]
