"""However many requests race to be the first for a name, there is one start, one process and one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sessions import Named, run_sessions
from tests.support.platform import Mode, Platform
from tests.support.raw import Answer
from tools.engine import Engine


@pytest.fixture(scope="module")
def served(module_place: Engine | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_sessions(tmp_path_factory.mktemp("first"), module_place) as platform:
        yield platform


@pytest.fixture
def platform(place: Engine | None, served: Platform) -> Platform:
    return served


@pytest.fixture
def dev(place: Engine | None, tmp_path: Path) -> Iterator[Platform]:
    with run_sessions(tmp_path, place, Mode.DEV) as platform:
        yield platform


async def all_at_once(container: Named, count: int, target: str = "/pid") -> list[Answer]:
    return await asyncio.gather(*(container.get(target) for _ in range(count)))


def assert_one_start(container: Named, answers: list[Answer]) -> None:
    assert {answer.status for answer in answers} == {200}
    (who,) = {answer.text() for answer in answers}
    assert container.starts() == [who]
    assert container.running() == [who]


async def test_200_first_requests_to_one_name_make_one_start_and_one_process(platform: Platform) -> None:
    container = Named(platform)
    assert_one_start(container, await all_at_once(container, 200))
    assert await container.until("start") == [["start"]]


async def test_first_requests_to_20_names_at_once_make_one_start_and_one_process_each(platform: Platform) -> None:
    containers = [Named(platform) for _ in range(20)]
    answers = await asyncio.gather(*(all_at_once(container, 25) for container in containers))
    for container, its_answers in zip(containers, answers, strict=True):
        assert_one_start(container, its_answers)
    assert len({answer[0].body for answer in answers}) == 20


async def test_first_requests_that_start_inside_a_block_make_one_start(platform: Platform) -> None:
    container = Named(platform, "SAFE")
    container.create("gate")
    assert_one_start(container, await all_at_once(container, 200))


async def test_everybody_hears_why_a_program_died_at_its_start_and_the_next_request_tries_anew(
    dev: Platform, place: Engine | None
) -> None:
    said = ["reading the configuration", "fatal: no database configured"]  # on stdout and on stderr
    container = Named(dev, "BROKEN")
    waiting = asyncio.gather(*(container.get("/") for _ in range(200)))
    await container.until_asked(200)
    await container.until_started()
    container.create("gate")
    answers = await waiting
    assert {answer.status for answer in answers} == {500}
    for answer in answers:
        problem = answer.json()
        assert (problem["code"], problem["exit_code"]) == ("container_failed_to_start", 7)
        output = problem["output"][-2:]
        assert output == said or (place is not None and output == said[::-1])  # Docker takes the two as they come
    assert await container.until("exit") == [["start"], ["exit", 7, "exit"]]
    assert len(container.starts()) == 1

    container.create("fixed")
    assert (await container.get("/")).body == b"fine"
    assert len(container.starts()) == 2


async def test_in_production_nobody_is_told_the_output_of_a_program_that_died_at_its_start(platform: Platform) -> None:
    container = Named(platform, "BROKEN")
    container.create("gate")
    answer = await container.get("/")
    assert answer.status == 500
    assert answer.json()["code"] == "container_failed_to_start"
    assert b"database" not in answer.body
    assert b"Traceback" not in answer.body
