from __future__ import annotations

import sys
from pathlib import Path

import pytest

from moorings.errors import ConfigError
from moorings.worker.env import Env, binding_name
from moorings.worker.loader import load_application

WORKER = """
from moorings import Container, DurableObject, Response, WorkerEntrypoint

class SessionBackend(Container):
    entrypoint = ["python", "server.py"]
    default_port = 3000

class Counter(DurableObject):
    pass

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("hello")
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "worker.py"
    file.write_text(text)
    return file


def test_objects_containers_and_the_worker_are_found(tmp_path: Path) -> None:
    app = load_application(write(tmp_path, WORKER))
    assert sorted(app.objects) == ["Counter", "SessionBackend"]
    assert list(app.options) == ["SessionBackend"]
    assert app.worker.__name__ == "Default"


def test_a_single_worker_may_have_any_name_and_imported_classes_are_not_bound(tmp_path: Path) -> None:
    (tmp_path / "loader_neighbour.py").write_text(WORKER)
    text = "from loader_neighbour import Counter\nfrom moorings import WorkerEntrypoint\n"
    text += "class Site(WorkerEntrypoint): pass"
    app = load_application(write(tmp_path, text))
    assert app.worker.__name__ == "Site"
    assert app.objects == {}


def test_a_reload_sees_changes_in_the_file_and_beside_it(tmp_path: Path) -> None:
    (tmp_path / "loader_constants.py").write_text("PORT = 1111\n")
    file = write(tmp_path, "from loader_constants import PORT\n" + WORKER.replace("3000", "PORT"))
    assert load_application(file).options["SessionBackend"].default_port == 1111
    (tmp_path / "loader_constants.py").write_text("PORT = 22222\n")
    assert load_application(file).options["SessionBackend"].default_port == 22222


@pytest.mark.parametrize("name", ["loader_pack/__init__.py", "loader_deep/inner/part.py", "loader_space/part.py"])
def test_a_reload_sees_changes_in_packages_below_the_folder(tmp_path: Path, name: str) -> None:
    part = tmp_path / name
    part.parent.mkdir(parents=True)
    part.write_text("PORT = 1111\n")
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    file = write(tmp_path, f"from {module} import PORT\n" + WORKER.replace("3000", "PORT"))
    assert load_application(file).options["SessionBackend"].default_port == 1111
    part.write_text("PORT = 22222\n")
    assert load_application(file).options["SessionBackend"].default_port == 22222


def test_a_namespace_package_of_the_folder_takes_in_a_part_that_moved(tmp_path: Path) -> None:
    (tmp_path / "loader_moved").mkdir()
    (tmp_path / "loader_moved" / "part.py").write_text("PORT = 1111\n")
    file = write(tmp_path, "from loader_moved.part import PORT\n" + WORKER.replace("3000", "PORT"))
    assert load_application(file).options["SessionBackend"].default_port == 1111
    namespace = sys.modules["loader_moved"]
    load_application(file)
    assert sys.modules["loader_moved"] is not namespace


@pytest.mark.parametrize(
    "folder", ["lib/site-packages", ".venv/lib", "env/lib", "data/sql"], ids=["installed", "hidden", "venv", "data"]
)
def test_a_reload_keeps_what_is_installed_below_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    if folder.startswith("env"):
        (tmp_path / "env" / "pyvenv.cfg").touch()
    name = f"loader_kept_{folder[-3:]}_{len(folder)}"
    (place / f"{name}.py").write_text("class Kept: pass\n")
    monkeypatch.syspath_prepend(place)
    file = write(tmp_path, f"import {name}\n{WORKER}")
    load_application(file, data=tmp_path / "data")
    module = sys.modules[name]
    load_application(file, data=tmp_path / "data")
    assert sys.modules[name] is module


def test_classes_that_would_share_a_name_in_env_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, WORKER + "class uni(DurableObject): pass\nclass Uni(DurableObject): pass\n")
    with pytest.raises(ConfigError, match="classes uni and Uni would both be UNI in env"):
        load_application(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no WorkerEntrypoint"),
        ("syntax error", "could not be loaded"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("raise SystemExit(3)", "could not be loaded"),
        (WORKER + "class A(WorkerEntrypoint): pass\nclass B(WorkerEntrypoint): pass\n", None),
        (WORKER.replace("Default", "A") + "class B(WorkerEntrypoint): pass\n", "several WorkerEntrypoint classes"),
        (WORKER.replace("3000", "'x'"), "SessionBackend.default_port"),
    ],
    ids=["empty", "syntax", "import", "exit", "default-wins", "ambiguous", "option"],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path, text: str, message: str | None) -> None:
    file = write(tmp_path, text)
    if message is None:
        assert load_application(file).worker.__name__ == "Default"
        return
    with pytest.raises(ConfigError) as caught:
        load_application(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_is_missing_is_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*moorings dev worker\.py"):
        load_application(tmp_path / "worker.py")


@pytest.mark.parametrize(
    ("class_name", "binding"),
    [
        ("SessionBackend", "SESSION_BACKEND"),
        ("Counter", "COUNTER"),
        ("HTTPServer", "HTTP_SERVER"),
        ("StatelessApi2", "STATELESS_API2"),
        ("already_snake", "ALREADY_SNAKE"),
    ],
)
def test_a_class_is_bound_under_its_name_in_capitals(class_name: str, binding: str) -> None:
    assert binding_name(class_name) == binding


def test_reading_a_binding_that_does_not_exist_says_which_there_are() -> None:
    env = Env({"COUNTER": 1, "API_KEY": "x"})
    assert env.COUNTER == env["COUNTER"] == 1
    assert "API_KEY" in env
    with pytest.raises(AttributeError, match="env has no 'COUNTERS'; it has: API_KEY, COUNTER"):
        _ = env.COUNTERS
