"""Which runtime a class gets, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorings.containers.container import Container
from moorings.containers.options import ContainerOptions, read_options
from moorings.server.choosing import Place, choose


def options(folder: Path, **attributes: object) -> ContainerOptions:
    return read_options(type("Thing", (Container,), {"default_port": 80, **attributes}), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "with").mkdir()
    (tmp_path / "with" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "without").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("image", "entrypoint", "answers", "place"),
    [
        ("./with", ["run"], True, Place.DOCKER),
        ("./with", ["run"], False, Place.PROCESS),
        ("./with", None, True, Place.DOCKER),
        ("./with", None, False, Place.DOCKER),
        ("./with/Dockerfile", ["run"], True, Place.DOCKER),
        ("./without", ["run"], True, Place.PROCESS),
        ("registry.example/thing:1", ["run"], True, Place.DOCKER),
        ("registry.example/thing:1", None, False, Place.DOCKER),
        (None, ["run"], True, Place.PROCESS),
    ],
)
def test_auto_takes_docker_where_there_is_an_image_and_an_engine(
    folder: Path, image: str | None, entrypoint: list[str] | None, answers: bool, place: Place
) -> None:
    choice = choose(options(folder, image=image, entrypoint=entrypoint), "auto", engine_answers=answers)
    assert choice.place is place
    assert choice.why


@pytest.mark.parametrize("place", list(Place))
def test_a_runtime_that_is_named_is_taken(folder: Path, place: Place) -> None:
    for image in ("./with", None):
        chosen = choose(options(folder, image=image, entrypoint=["run"]), place, engine_answers=True)
        assert chosen.place is place
