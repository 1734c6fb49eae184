"""The platform's promises, kept on Docker: one start, every end told, what a container may not do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.docker.boxes import Box, run_boxes
from tests.support.platform import Platform
from tests.support.raw import Connection, Truncated, request
from tests.support.waiting import eventually
from tools.engine import Engine
from tools.engine.netns import outside


@pytest.fixture(scope="module")
def served(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with contextlib.ExitStack() as stack:
        with docker_engine.network():
            platform = stack.enter_context(run_boxes(tmp_path_factory.mktemp("boxes"), docker_engine))
        yield platform


@pytest.fixture
def platform(engine: Engine, served: Platform) -> Platform:
    """The platform that this module shares, with the test inside the Engine's network."""
    return served


@pytest.fixture
def box(platform: Platform, request: pytest.FixtureRequest) -> Box:
    """A container with a name of its own."""
    return Box(platform, request.node.name)


def of(platform: Platform, box: Box) -> list[dict[str, Any]]:
    """What the Engine has of a box."""
    name = dict(box.headers)["X-Name"]
    return [each for each in platform.docker_containers() if each["Labels"]["dev.moorings.name"] == name]


# --- starts -----------------------------------------------------------------------------------------------------------


async def test_a_hundred_first_requests_to_one_name_start_one_container(platform: Platform, box: Box) -> None:
    answers = await asyncio.gather(*(box.get() for _ in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["host"] for answer in answers}) == 1
    assert len(of(platform, box)) == 1


async def test_several_names_at_once_have_a_container_each(platform: Platform) -> None:
    boxes = [Box(platform, f"many {number} ü/%") for number in range(4)]
    answers = await asyncio.gather(*(box.ask() for box in boxes for _ in range(10)))
    assert len({answer["host"] for answer in answers}) == 4
    for box in boxes:
        assert len(of(platform, box)) == 1


async def test_a_program_that_dies_at_its_start_is_told_to_every_caller_and_tried_again(platform: Platform) -> None:
    box = Box(platform, "dies", "DIES")
    for _ in range(2):
        answers = await asyncio.gather(*(box.get() for _ in range(10)))
        assert {answer.status for answer in answers} == {500}
        for answer in answers:
            assert answer.json()["exit_code"] == 7
            assert "no luck today" in answer.json()["output"]
    assert await box.exits(2) == [[7, "exit"], [7, "exit"]]


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_a_client_that_goes_away_while_it_starts_keeps_it_awake_no_longer(platform: Platform) -> None:
    box = Box(platform, "aborted", "SLEEPER")
    connection = await Connection.open(platform.address)
    await connection.offer(request("GET", "/", box.headers))
    await asyncio.sleep(0)
    connection.abort()
    assert (await box.exits(1))[0][1] in ("signal", "exit")


async def test_a_container_killed_between_requests_is_noticed_and_started_anew(
    platform: Platform, box: Box, engine: Engine
) -> None:
    first = await box.ask()
    [container] = of(platform, box)
    engine.ask("POST", f"/containers/{container['Id']}/kill")
    assert await box.exits(1) == [[137, "signal"]]
    second = await box.ask()
    assert (second["host"] != first["host"], second["visits"]) == (True, 1)


async def test_one_that_dies_in_the_middle_of_an_answer_aborts_it(platform: Platform, box: Box, engine: Engine) -> None:
    await box.ask()
    connection = await Connection.open(platform.address)
    with connection:
        await connection.offer(request("GET", "/slow", box.headers))
        head = await connection.receive_head()
        assert head.status == 200
        [container] = of(platform, box)
        engine.ask("POST", f"/containers/{container['Id']}/kill")
        with pytest.raises(Truncated):
            async for _ in connection.body(head):
                pass


async def test_every_end_has_its_reason(platform: Platform, box: Box, engine: Engine) -> None:
    await box.get("/exit", code=5)
    await box.exits(1)
    await box.get("/hog")
    await box.exits(2)
    await box.ask()
    await box.get("/-/stop")
    exits = await box.exits(3)
    assert exits == [[5, "exit"], [137, "oom"], [143, "signal"]]
    assert await eventually(lambda: _none(platform, box), "the ended containers are removed")


async def _none(platform: Platform, box: Box) -> bool:
    return of(platform, box) == []


# --- what is out of reach ---------------------------------------------------------------------------------------------


async def test_a_container_reaches_no_neighbour_and_no_socket_of_the_platform(platform: Platform, box: Box) -> None:
    other = Box(platform, "neighbour")
    address = await other.ask("/address")
    assert await box.ask("/connect", host=address, port=3000) != "connected"
    for path in ("/var/run/docker.sock", "/run/docker.sock", str(platform.data), str(platform.folder)):
        assert await box.ask("/exists", path=path) is False


async def test_an_internal_container_has_no_way_out(platform: Platform, docker_engine: Engine) -> None:
    internal, usual = Box(platform, "internal", "INTERNAL"), Box(platform, "usual")
    with outside(docker_engine.network) as (host, port):
        assert await usual.ask("/connect", host=host, port=port) == "connected"
        assert await internal.ask("/connect", host=host, port=port) != "connected"
    address = await usual.ask("/address")
    assert await internal.ask("/connect", host=address, port=3000) != "connected"


async def test_the_sandbox_holds(platform: Platform, box: Box) -> None:
    status = (await box.ask("/sh", command="cat /proc/self/status"))["output"]
    fields = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    kept = {bit for bit in range(64) if int(fields["CapEff"], 16) >> bit & 1}
    assert kept == {0, 1, 3, 4, 5, 6, 7, 10}  # linux/capability.h
    assert (await box.ask("/sh", command="echo x > /app/file"))["code"] != 0
    filled = await box.ask(
        "/sh", command="head -c 20000000 /dev/zero > /tmp/full 2> /dev/null; wc -c < /tmp/full; rm /tmp/full"
    )
    assert int(filled["output"].split()[-1]) <= 8 * 1024 * 1024
    forks = await box.ask("/sh", command="for i in $(echo 1 2 3 4 5 6 7 8 9 10); do sleep 0 & done; wait; echo fine")
    assert "fine" in forks["output"]


# --- a crowd ----------------------------------------------------------------------------------------------------------


async def test_of_a_crowd_as_many_get_an_answer_as_there_are_places_and_the_others_once_those_sleep(
    platform: Platform,
) -> None:
    boxes = [Box(platform, f"crowd {number}", "FEW") for number in range(12)]
    connections = [await Connection.open(platform.address, timeout=60.0) for _ in boxes]
    try:
        for box, connection in zip(boxes, connections, strict=True):
            await connection.offer(request("GET", "/slow", box.headers))  # it keeps its container busy
        heads = await asyncio.gather(*(connection.receive_head() for connection in connections))
        assert sorted(head.status for head in heads) == [200] * 4 + [503] * 8
        assert _few(platform) == 4
    finally:
        for connection in connections:
            connection.abort()
    refused = [(box, head) for box, head in zip(boxes, heads, strict=True) if head.status == 503]
    assert all(int(dict(head.headers)["Retry-After"]) > 0 for _, head in refused)
    for some in (refused[:4], refused[4:]):

        async def asleep() -> bool:
            return _few(platform) == 0

        await eventually(asleep, "they sleep", within=30.0)
        answers = await asyncio.gather(*(box.get() for box, _ in some))
        assert {answer.status for answer in answers} == {200}


def _few(platform: Platform) -> int:
    """How many containers of the class with few places exist."""
    return sum(each["Labels"]["dev.moorings.class"] == "Few" for each in platform.docker_containers())
