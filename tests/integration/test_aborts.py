"""A client that goes away ends its own exchange and nothing else; the container it leaves behind sleeps on time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.integration.sessions import Named, run_sessions
from tests.support.platform import Platform
from tests.support.raw import Connection
from tools.engine import Engine

leave = pytest.mark.parametrize("leave", [Connection.abort, Connection.close], ids=["reset", "closed"])
Leave = Callable[[Connection], None]


@pytest.fixture(scope="module")
def served(module_place: Engine | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_sessions(tmp_path_factory.mktemp("aborts"), module_place) as platform:
        yield platform


@pytest.fixture
def platform(place: Engine | None, served: Platform) -> Platform:
    return served


@pytest.fixture
def sleepy(platform: Platform) -> Named:
    return Named(platform, "SLEEPY")


def received(size: int) -> Callable[[dict[str, list[dict[str, object]]]], bool]:
    """Whether the program has read ``size`` bytes of a body; what asks may be forwarded before the upload is."""
    return lambda peek: any(entry["body"] == size for entry in peek["entries"])


def broke_off(peek: dict[str, list[dict[str, object]]]) -> bool:
    return any("aborted" in entry for entry in peek["entries"])


async def test_a_container_sleeps_when_idle_and_wakes_on_the_next_request(sleepy: Named) -> None:
    first = await sleepy.who()
    await sleepy.until_it_sleeps()
    assert (await sleepy.state())["status"] == "stopped"
    assert await sleepy.who() != first
    await sleepy.until_it_sleeps(2)


@leave
async def test_a_client_that_leaves_inside_its_request_head(sleepy: Named, leave: Leave) -> None:
    await sleepy.who()
    leave(await sleepy.open(sleepy.request("/pid")[:-2]))
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_before_the_head_of_the_answer(sleepy: Named, leave: Leave) -> None:
    connection = await sleepy.open(sleepy.request("/hold?name=answer"))
    await sleepy.until_served(lambda peek: peek["held"].get("answer"), "the program holds the request")
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees its client go")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_in_the_upload(sleepy: Named, leave: Leave) -> None:
    upload = sleepy.request("/upload", "POST", headers=[("Content-Length", "1000000")])
    connection = await sleepy.open(upload + bytes(500_000))
    await sleepy.until_served(received(500_000), "half of it arrived")
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees the upload break off")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_in_a_chunked_upload(sleepy: Named, leave: Leave) -> None:
    upload = sleepy.request("/upload", "POST", headers=[("Transfer-Encoding", "chunked")])
    connection = await sleepy.open(upload + b"5\r\nhello\r\n")
    await sleepy.until_served(received(5), "a chunk arrived")
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees the upload break off")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_while_its_upload_is_not_read(sleepy: Named, leave: Leave) -> None:
    await sleepy.who()
    connection = await Connection.open(sleepy.address)
    upload = sleepy.request("/upload?hold=reading", "POST", headers=[("Content-Length", str(1 << 30))])
    await connection.send(upload)
    sending = asyncio.ensure_future(connection.send(bytes(64 << 20)))
    await sleepy.until_served(lambda peek: peek["held"].get("reading"), "the program holds the upload")
    assert not sending.done(), "64 MiB of an upload that nobody reads were taken"
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    leave(connection)
    await sleepy.get("/release?name=reading")
    await sleepy.until_it_sleeps()


async def test_a_client_that_is_reset_while_its_upload_is_held_back_does_not_keep_the_container_awake(
    sleepy: Named,
) -> None:
    await sleepy.who()
    connection = await Connection.open(sleepy.address)
    await connection.send(sleepy.request("/upload?hold=reading", "POST", headers=[("Content-Length", str(1 << 30))]))
    sending = asyncio.ensure_future(connection.send(bytes(64 << 20)))
    await sleepy.until_served(lambda peek: peek["held"].get("reading"), "the program holds the upload")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    connection.abort()
    await sleepy.until_it_sleeps()  # while the program goes on holding it


@leave
async def test_a_client_that_leaves_in_the_download(sleepy: Named, leave: Leave) -> None:
    connection = await sleepy.open(sleepy.request("/endless"))
    head = await connection.receive_head()
    received = 0
    async for piece in connection.body(head):
        received += len(piece)
        if received > 1_000_000:
            break
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees its client go")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_without_having_read_its_download(sleepy: Named, leave: Leave) -> None:
    connection = await sleepy.open(sleepy.request("/endless"))
    await connection.receive_head()
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees its client go")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_between_two_chunks(sleepy: Named, leave: Leave) -> None:
    connection = await sleepy.open(sleepy.request("/stream?hold=chunk"))
    head = await connection.receive_head()
    assert await anext(connection.body(head)) == b"a" * 10
    leave(connection)
    await sleepy.until_served(broke_off, "the program sees its client go")
    await sleepy.until_it_sleeps()


@leave
async def test_a_client_that_leaves_while_the_container_starts(platform: Platform, leave: Leave) -> None:
    container = Named(platform, "GATED")
    connection = await container.open(container.request("/hold?name=never"))
    await container.until_started()
    leave(connection)
    container.create("gate")
    await container.until_it_sleeps()


async def test_clients_that_leave_at_any_moment_do_not_disturb_those_that_stay(sleepy: Named) -> None:
    await sleepy.who()
    leaving = [await sleepy.open(sleepy.request("/hold?name=crowd")) for _ in range(20)]
    leaving += [await sleepy.open(sleepy.request("/endless")) for _ in range(5)]
    leaving += [await sleepy.open(sleepy.request("/stream?hold=crowd")) for _ in range(20)]
    staying = asyncio.gather(*(sleepy.get("/hold?name=crowd") for _ in range(20)))
    await sleepy.until_served(lambda peek: peek["held"].get("crowd") == 60, "the program holds 60 requests")
    for number, connection in enumerate(leaving):
        (Connection.abort if number % 2 else Connection.close)(connection)
    await sleepy.until_served(lambda peek: peek["held"].get("crowd") == 20, "the program holds 20 requests")
    await sleepy.get("/release?name=crowd")
    assert [answer.body for answer in await staying] == [b"released"] * 20
    await sleepy.until_it_sleeps()


async def test_a_request_in_flight_keeps_its_container_awake(platform: Platform) -> None:
    busy, idle = Named(platform, "SLEEPY"), Named(platform, "SLEEPY")
    waiting = await busy.open(busy.request("/hold?name=long"))
    download = await busy.open(busy.request("/stream?hold=long"))
    await busy.until_served(lambda peek: peek["held"].get("long") == 2, "the program holds both requests")
    for count in (1, 2, 3):
        await idle.who()
        await idle.until_it_sleeps(count)
    assert await busy.until("start") == [["start"]]
    await busy.get("/release?name=long")
    assert (await waiting.receive()).body == b"released"
    assert len((await download.receive()).body) == 30
    waiting.close()
    download.close()
    await busy.until_it_sleeps()


async def test_of_200_clients_of_a_block_the_first_50_leave_and_the_other_150_are_served(platform: Platform) -> None:
    container = Named(platform, "SAFE")
    leaving = [await container.open(container.request("/pid")) for _ in range(50)]
    await container.until_asked(50)
    staying = asyncio.gather(*(container.get("/pid") for _ in range(150)))
    await container.until_asked(200)
    await container.until_started()
    for connection in leaving:
        connection.abort()
    container.create("gate")
    answers = await staying
    assert {answer.status for answer in answers} == {200}
    assert {answer.text() for answer in answers} == set(container.starts())
    assert len(container.starts()) == 1
