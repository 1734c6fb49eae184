"""What a change of a file asks for, and which files are looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moorings.cli.reloading import (
    GRANULARITY,
    Plan,
    Snapshot,
    difference,
    folders,
    image_files,
    plan,
    program_files,
    rebased,
    snapshot,
)
from moorings.worker.loader import Application, load_application

WORKER = """
from moorings import Container, DurableObject, Response, WorkerEntrypoint


class Boxed(Container):
    image = "./box"
    entrypoint = ["python", "server.py"]
    default_port = 3000


class Beside(Container):
    entrypoint = ["python", "program.py", "--config", "settings.ini"]
    default_port = 3000


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("")
"""
NOW = 2_000_000_000.0


@pytest.fixture
def app(tmp_path: Path) -> Application:
    """Two classes: one with a folder of its own, one whose program lies beside the worker."""
    for name in (
        "box/server.py",
        "box/page.html",
        "program.py",
        "settings.ini",
        "helper.py",
        "lib/deep.py",
        ".dev.vars",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "worker.py").write_text(WORKER)
    return load_application(tmp_path / "worker.py")


def look(app: Application) -> Snapshot:
    root = app.file.parent
    return snapshot(folders(root, root / "data"), [root / ".dev.vars", *program_files(app)])


def change(app: Application, name: str) -> Plan:
    """What is to be done after ``name`` was written."""
    before = look(app)
    path = app.file.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{path.read_text() if path.exists() else ''}\n# changed")
    return plan(before, look(app), app, time=NOW)


def test_nothing_changed_asks_for_nothing(app: Application) -> None:
    assert plan(look(app), look(app), app, time=NOW) == Plan(None, {}, {})


@pytest.mark.parametrize("name", ["worker.py", "helper.py", "lib/deep.py", "new.py", ".dev.vars"])
def test_files_of_the_worker_ask_for_a_reload_and_no_restart(app: Application, name: str) -> None:
    wanted = change(app, name)
    assert wanted.worker == app.file.parent / name
    assert not wanted.programs


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("box/server.py", "Boxed"),
        ("box/new.py", "Boxed"),
        ("program.py", "Beside"),
        ("settings.ini", "Beside"),
    ],
)
def test_files_of_a_program_restart_the_containers_of_its_class_alone(app: Application, name: str, owner: str) -> None:
    wanted = change(app, name)
    assert wanted.worker is None
    assert wanted.programs == {owner: app.file.parent / name}


@pytest.mark.parametrize("name", ["box/page.html", "notes.txt", "data/x.py", ".hidden/x.py", "__pycache__/x.py"])
def test_other_files_ask_for_nothing(app: Application, name: str) -> None:
    assert change(app, name) == Plan(None, {}, {})


ALWAYS = {"Dockerfile", ".dockerignore", "Dockerfile.dockerignore"}


def test_of_an_image_all_counts_that_it_is_built_from(app: Application) -> None:
    box = app.file.parent / "box"
    for name in ("Dockerfile", "lib/data.json", "logs/today.log", ".git/HEAD", ".page.html.swp", "page.html~"):
        (box / name).parent.mkdir(exist_ok=True)
        (box / name).write_text("")
    (box / ".dockerignore").write_text("**/*.log\nDockerfile\n")
    found = {str(path.relative_to(box)) for path in image_files(box, app.file.parent / "data")}
    assert found == ALWAYS | {"lib/data.json", "page.html", "server.py"}


def test_of_an_image_whose_dockerignore_is_wrong_what_can_mend_it_counts(app: Application) -> None:
    box = app.file.parent / "box"
    (box / ".dockerignore").write_text("[a\n")
    assert {path.name for path in image_files(box, app.file.parent / "data")} == ALWAYS


def test_a_file_of_an_image_restarts_the_containers_of_its_class_alone(app: Application) -> None:
    box = app.file.parent / "box"
    data = app.file.parent / "data"
    before = snapshot([], image_files(box, data))
    (box / "new.html").write_text("")
    (box / "page.html").unlink()
    wanted = plan(before, snapshot([], image_files(box, data)), app, time=NOW)
    assert (wanted.worker, wanted.programs) == (None, {"Boxed": box / "new.html"})


def test_virtual_environments_are_not_looked_at(app: Application) -> None:
    root = app.file.parent
    (root / "env" / "lib").mkdir(parents=True)
    (root / "env" / "pyvenv.cfg").write_text("")
    assert {folder.name for folder in folders(root, root / "data")} == {root.name, "box", "lib"}


def test_a_container_started_after_its_program_was_saved_is_not_outdated(app: Application) -> None:
    program = app.file.parent / "program.py"
    wanted = change(app, "program.py")
    assert wanted.outdated == {"Beside": program.stat().st_ctime + GRANULARITY}


def test_a_removed_program_outdates_every_container_of_its_class(app: Application) -> None:
    before = look(app)
    (app.file.parent / "box" / "server.py").unlink()
    assert plan(before, look(app), app, time=NOW).outdated == {"Boxed": NOW}


def test_a_file_moved_into_place_with_an_old_time_counts_as_changed_now(app: Application) -> None:
    program = app.file.parent / "program.py"
    before = look(app)
    prepared = app.file.parent / "prepared.txt"
    prepared.write_text("# another")
    os.utime(prepared, (1.0, 1.0))
    prepared.replace(program)
    wanted = plan(before, look(app), app, time=NOW)
    assert wanted.programs == {"Beside": program}
    assert wanted.outdated["Beside"] > 1_000_000.0


def test_why_a_container_is_outdated_names_the_options(app: Application, tmp_path: Path) -> None:
    old = app.options["Boxed"].start
    text = WORKER.replace("server.py", "other.py").replace("default_port = 3000", "default_port = 4000", 1)
    (tmp_path / "worker.py").write_text(text)
    new = load_application(tmp_path / "worker.py").options["Boxed"].start
    assert difference(old, new) == "entrypoint, ports changed"
    assert difference(old, None) == "class removed"


def test_a_file_that_is_named_only_now_is_no_change_but_one_that_was_always_looked_for_is() -> None:
    program, settings, gone = Path("/app/settings.ini"), Path("/app/moorings.toml"), Path("/app/old.ini")
    look = next(iter(snapshot([], [Path(__file__)]).values()))
    before = rebased({gone: look}, {program: look, settings: look}, [program, settings], [settings])
    assert before == {program: look}


def test_a_class_that_was_put_back_is_told_as_such(app: Application) -> None:
    assert difference(None, app.options["Boxed"].start) == "class put back"
