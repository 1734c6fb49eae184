"""The command line from outside: help, mistakes and exit codes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from moorings.cli.commands import moorings as group

MOORINGS = Path(sysconfig.get_path("scripts")) / "moorings"
WORKER = """
from moorings import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("hello")
"""


def moorings(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([MOORINGS, *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def mistake(*arguments: str, folder: Path) -> str:
    """What it says on standard error about a mistake: exit code 1, and no traceback of the platform's."""
    done = moorings(*arguments, folder=folder)
    assert done.returncode == 1, done
    assert done.stderr.startswith("Error: ")
    assert "src/moorings" not in done.stderr
    return done.stderr


def test_help_teaches_what_it_is_and_how_to_start(tmp_path: Path) -> None:
    done = moorings("--help", folder=tmp_path)
    assert done.returncode == 0
    for part in ("scale-to-zero", "moorings dev", "class Default(WorkerEntrypoint)", "serve"):
        assert part in done.stdout


@pytest.mark.parametrize("name", sorted(group.commands))
def test_the_help_of_every_command_has_an_example(tmp_path: Path, name: str) -> None:
    done = moorings(name, "--help", folder=tmp_path)
    assert re.search(rf"Examples?\b.*:\n +moorings {name}\b", done.stdout)


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = moorings("--version", folder=tmp_path)
    assert done.stdout.startswith("moorings 0.")


def test_help_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; from moorings.cli.commands import moorings; moorings(['dev', '--help'], standalone_mode=False);"
        "print(sorted({'rich', 'watchfiles', 'uvloop', 'msgspec', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["dev", "--port", "70000"],
        ["dev", "--runtime", "nonsense"],
        ["serve", "--trusted-proxy", "nonsense"],
        ["serve", "--drain-timeout", "soon"],
        ["serve", "--drain-timeout", "-5"],
        ["serve", "--drain-timeout", "nan"],
        ["dev", "--host", ""],
        ["serve", "--host", " "],
        ["dev", "--max-body", "big"],
        ["dev", "--stop-containers"],
    ],
)
def test_usage_errors_end_with_two(tmp_path: Path, arguments: list[str]) -> None:
    done = moorings(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_worker_says_what_to_do(tmp_path: Path) -> None:
    assert "there is no worker.py" in (said := mistake("dev", folder=tmp_path))
    assert "moorings dev path/to/worker.py" in said


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "other.py: no such file" in mistake("dev", "other.py", folder=tmp_path)


def test_a_worker_that_does_not_load_shows_where(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("import nothing_of_that_name\n")
    said = mistake("serve", folder=tmp_path)
    assert "worker.py could not be loaded" in said
    assert "line 1, in <module>" in said
    assert "ModuleNotFoundError" in said


def test_every_mistake_of_a_class_is_named_at_once(tmp_path: Path) -> None:
    bad = 'class Box(Container):\n    default_port = 99999\n    sleep_after = "soon"\n'
    (tmp_path / "worker.py").write_text(f"from moorings import Container\n\n\n{bad}")
    said = mistake("dev", folder=tmp_path)
    for part in ("Box.default_port = 99999", "Box.sleep_after = 'soon'", "entrypoint", "no WorkerEntrypoint"):
        assert part in said


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = mistake("dev", "--port", str(port), folder=tmp_path)
    assert f"port {port} on 127.0.0.1 is taken" in said
    assert "--port" in said


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    assert "192.0.2.1 is no address of this machine" in mistake("dev", "--host", "192.0.2.1", folder=tmp_path)


def test_an_env_file_that_cannot_be_read_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "secrets.env").write_text("FINE=1\nnot a variable\n")
    assert "secrets.env, line 2" in mistake("serve", "--env-file", "secrets.env", folder=tmp_path)


def test_an_env_file_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    said = mistake("serve", "--env-file", "nowhere.env", folder=tmp_path)
    assert "nowhere.env: can't be read" in said
    assert "Traceback" not in said
    assert "could not be loaded" not in said


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "file").write_text("")
    assert "file/data" in mistake("dev", "--port", "0", "--data-dir", "file/data", folder=tmp_path)
