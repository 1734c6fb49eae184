"""A container that is stopped may finish what it has begun, and nothing of the platform's holds it up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.sessions import Named, run_sessions
from tests.support.platform import Platform
from tests.support.raw import request
from tools.engine import Engine


@pytest.fixture(scope="module")
def served(module_place: Engine | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_sessions(tmp_path_factory.mktemp("stops"), module_place) as platform:
        yield platform


@pytest.fixture
def platform(place: Engine | None, served: Platform) -> Platform:
    return served


async def test_a_program_that_waits_for_its_connections_is_not_held_up_by_idle_ones(platform: Platform) -> None:
    container = Named(platform, "PATIENT")
    await asyncio.gather(*(container.who() for _ in range(10)))
    await container.get("/-/stop")
    assert await container.until("exit") == [["start"], ["stop"], ["exit", 0, "exit"]]


async def test_a_request_in_flight_when_its_container_is_stopped_gets_its_answer(platform: Platform) -> None:
    container = Named(platform, "PATIENT")
    with (
        await container.inside() as inside,
        await container.open(container.request("/stream?hold=rest")) as client,
    ):
        await inside.send(request("GET", "/pid"))
        await inside.receive()
        head = await client.receive_head()
        body = client.body(head)
        assert await anext(body) == b"a" * 10
        await container.get("/-/stop")
        await inside.send(request("GET", "/release?name=rest"))
        await inside.receive()
        assert b"".join([piece async for piece in body]) == b"b" * 10 + b"c" * 10
    assert await container.until("exit") == [["start"], ["stop"], ["exit", 0, "exit"]]


async def test_requests_that_come_while_a_container_stops_wait_and_start_it_anew(platform: Platform) -> None:
    container = Named(platform)
    first = await container.who()
    await container.get("/-/stop")
    answers = await asyncio.gather(*(container.get() for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    (second,) = {answer.text() for answer in answers}
    assert container.starts() == [first, second]
    diary = await container.until("start", 2)
    assert [entry[0] for entry in diary] == ["start", "stop", "exit", "start"]


async def test_a_container_that_is_stopped_twice_is_stopped_once(platform: Platform) -> None:
    container = Named(platform)
    await container.who()
    await asyncio.gather(*(container.get("/-/stop") for _ in range(5)))
    assert [entry[0] for entry in await container.until("exit")] == ["start", "stop", "exit"]
    await container.get("/-/stop")
    assert (await container.state())["status"] == "stopped"
    assert len(container.starts()) == 1
