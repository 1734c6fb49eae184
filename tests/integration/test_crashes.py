"""A container that dies is noticed by its exit, and no client takes half an answer for a whole one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.sessions import Named, run_sessions
from tests.support.platform import Platform
from tests.support.raw import Connection, Truncated
from tools.engine import Engine

FIRST = b"first"


@pytest.fixture(scope="module")
def served(module_place: Engine | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_sessions(tmp_path_factory.mktemp("crashes"), module_place) as platform:
        yield platform


@pytest.fixture
def platform(place: Engine | None, served: Platform) -> Platform:
    return served


@pytest.fixture
def container(platform: Platform) -> Named:
    return Named(platform)


async def read_until_cut(connection: Connection) -> bytes:
    """The body up to where the connection is cut; fails where it looks whole."""
    with connection, pytest.raises(Truncated) as cut:
        await connection.receive()
    partial: bytes = cut.value.partial
    return partial


async def test_a_container_killed_between_requests_is_noticed_before_any_request(container: Named) -> None:
    first = await container.who()
    container.kill(first)
    assert await container.until("exit") == [["start"], ["exit", 137, "signal"]]
    state = await container.state()
    assert (state["status"], state["exit_code"]) == ("stopped_with_code", 137)

    second = await container.who()
    assert container.starts() == [first, second]
    assert await container.until("start", 2) == [["start"], ["exit", 137, "signal"], ["start"]]


async def test_a_container_killed_while_many_ask_for_it_is_started_once_more(container: Named) -> None:
    first = await container.who()
    container.kill(first)
    answers = await asyncio.gather(*(container.get("/pid") for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    (second,) = {answer.text() for answer in answers}
    assert container.starts() == [first, second]


async def test_a_container_that_exits_by_itself_tells_its_code(container: Named) -> None:
    await container.who()
    answer = await container.get("/exit?code=3")
    assert answer.status == 502, answer
    assert answer.json()["code"] == "upstream_error"
    diary = await container.until("exit")
    assert diary[:2] == [["start"], ["exit", 3, "exit"]]


async def test_a_container_that_dies_before_it_answers_a_post_gives_502_and_the_next_request_is_served(
    container: Named,
) -> None:
    first = await container.who()
    with await container.open(container.request("/die", "POST", b"x")) as connection:
        answer = await connection.receive("POST")
    assert (answer.status, answer.json()["code"]) == (502, "upstream_error")
    assert await container.until("exit") == [["start"], ["exit", 137, "signal"]]
    assert await container.who() != first


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_container_killed_in_its_answer_cuts_the_client_off(container: Named, framing: str) -> None:
    who = await container.who()
    connection = await container.open(container.request(f"/half?then=hold&framing={framing}"))
    await container.until_served(lambda peek: peek["held"].get("half"), "half of the answer was sent")
    head = await connection.receive_head()
    assert head.status == 200
    body = connection.body(head)
    assert await anext(body) == FIRST
    container.kill(who)
    with connection, pytest.raises(Truncated):
        await anext(body)
    assert await container.until("exit") == [["start"], ["exit", 137, "signal"]]
    assert await container.who() != who


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("then", ["close", "reset"])
async def test_an_answer_that_breaks_off_cuts_the_client_off(container: Named, framing: str, then: str) -> None:
    connection = await container.open(container.request(f"/half?then={then}&framing={framing}"))
    assert await read_until_cut(connection) in (FIRST, b"")


async def test_every_client_of_a_container_killed_in_its_answers_is_cut_off_and_the_next_are_served(
    container: Named,
) -> None:
    who = await container.who()
    connections = [await container.open(container.request("/half?then=hold")) for _ in range(30)]
    await container.until_served(lambda peek: peek["held"].get("half") == 30, "30 halves were sent")
    container.kill(who)
    assert await asyncio.gather(*map(read_until_cut, connections)) == [FIRST] * 30
    assert await container.until("exit") == [["start"], ["exit", 137, "signal"]]
    assert len({(await container.get("/pid")).body for _ in range(3)}) == 1
