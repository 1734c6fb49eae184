"""Malformed and ambiguous requests are refused, their connection is closed, and nothing of them reaches a container."""

from __future__ import annotations

import pytest

from tests.integration.malformed import table
from tests.integration.malformed.bodies import AT_THE_LIMIT
from tests.integration.malformed.case import CHUNKED, HOST, REFUSALS, SMUGGLED, Case, Flaw
from tests.integration.malformed.corpus import MALFORMED
from tests.integration.malformed.observe import Outcome, outcome, reached, send
from tests.support.nginx import find_nginx, nginx_version
from tests.support.raw import Address, Connection, Ending, get
from tests.support.waiting import eventually

WHOLE_SEGMENT = 16 * 1024
LATE = [case for case in MALFORMED if case.flaw is Flaw.BODY]

GET_FIRST = b"GET /first HTTP/1.1\r\n" + HOST
POST_FIRST = b"POST /first HTTP/1.1\r\n" + HOST
CL_TE = b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"
FOLLOWED: dict[str, tuple[bytes, bytes, list[int]]] = {
    "a request after close": (GET_FIRST + b"Connection: close\r\n\r\n", SMUGGLED, [200]),
    "a request after HTTP/1.0": (b"GET /first HTTP/1.0\r\n" + HOST + b"\r\n", SMUGGLED, [200]),
    "trash after close": (GET_FIRST + b"Connection: close\r\n\r\n", b"\0 trash", [200]),
    "trash after a request": (GET_FIRST + b"\r\n", b"\0 trash\r\n\r\n", [200, 400]),
    "longer than its length": (POST_FIRST + b"Content-Length: 3\r\n\r\nabc", b"def\r\n\r\n" + SMUGGLED, [200, 400]),
    "after the last chunk": (POST_FIRST + CHUNKED + b"\r\n0\r\n\r\n", b"X: y\r\n\r\n" + SMUGGLED, [200, 400]),
    "a smuggling request after a good one": (GET_FIRST + b"\r\n", CL_TE + SMUGGLED, [200, 400]),
}

every_case = pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.name)


def assert_refused(case: Case, seen: Outcome) -> None:
    assert seen.answer is not None, f"no answer ({seen})"
    assert seen.answer.status in case.refusals, seen.answer
    assert (seen.answer.header("connection") or "").lower() == "close", seen.answer
    assert seen.ending is not Ending.OPEN
    assert seen.surplus == b"", "a second answer: the bytes after the malformed message were read as a request"


def test_the_corpus_is_large_and_names_are_unique() -> None:
    assert len(MALFORMED) >= 70
    assert len({case.name for case in MALFORMED}) == len(MALFORMED)
    assert all(case.refusals <= REFUSALS for case in MALFORMED)


@every_case
async def test_a_malformed_request_is_refused_and_reaches_nobody(recorder: Address, case: Case) -> None:
    await reached(recorder)
    assert_refused(case, await send(recorder, case.data))
    entries = await reached(recorder)
    if case.flaw is Flaw.HEAD or len(case.data) < WHOLE_SEGMENT:
        assert entries == []
    else:
        assert not any(entry.get("complete") for entry in entries), entries


@every_case
async def test_a_malformed_request_that_arrives_in_small_pieces_is_refused_too(recorder: Address, case: Case) -> None:
    await reached(recorder)
    piece = 1 if len(case.data) < 1024 else 4093
    assert_refused(case, await send(recorder, case.data, piece=piece))
    entries = await reached(recorder)
    if case.flaw is Flaw.HEAD:
        assert entries == []
    else:
        assert not any(entry.get("complete", True) for entry in entries), entries


@pytest.mark.parametrize("case", LATE, ids=lambda case: case.name)
async def test_a_body_that_turns_out_bad_never_reaches_the_container_as_a_whole(recorder: Address, case: Case) -> None:
    head, body = case.data.split(b"\r\n\r\n", 1)
    await reached(recorder)

    async def head_arrived() -> bool:
        return bool((await get(recorder, "/peek")).json()["entries"])

    with await Connection.open(recorder) as connection:
        await connection.send(head + b"\r\n\r\n")
        await eventually(head_arrived, "the container has the head")
        await connection.offer(body)
        assert_refused(case, await outcome(connection))

    async def aborted() -> bool:
        entries = (await get(recorder, "/peek")).json()["entries"]
        return all("aborted" in entry or "malformed" in entry for entry in entries)

    await eventually(aborted, "the container has seen the request break off")
    assert not any(entry.get("complete") for entry in await reached(recorder))


@pytest.mark.parametrize("name", AT_THE_LIMIT)
async def test_a_body_as_large_as_the_limit_is_served(recorder: Address, name: str) -> None:
    await reached(recorder)
    with await Connection.open(recorder) as connection:
        await connection.offer(AT_THE_LIMIT[name])
        assert (await connection.receive()).status == 200
    assert [entry.get("complete") for entry in await reached(recorder)] == [True]


@pytest.mark.parametrize(("first", "second", "statuses"), FOLLOWED.values(), ids=FOLLOWED)
async def test_what_follows_a_good_request_is_not_served_unless_it_is_one_itself(
    recorder: Address, first: bytes, second: bytes, statuses: list[int]
) -> None:
    await reached(recorder)
    with await Connection.open(recorder) as connection:
        await connection.send(first + second)
        assert [(await connection.receive()).status for _ in statuses] == statuses
        assert await connection.ending() is not Ending.OPEN
        assert connection.surplus == b""
    assert [entry.get("target") for entry in await reached(recorder)] == ["/first"]


async def test_the_table_beside_the_corpus_has_our_answers(recorder: Address) -> None:
    _, cells = table.read()
    assert list(cells) == [case.name for case in MALFORMED]
    seen = {case.name: await table.cell(recorder, case) for case in MALFORMED}
    assert seen == {name: ours for name, (ours, _) in cells.items()}


async def test_the_table_beside_the_corpus_has_the_answers_of_nginx(nginx: Address) -> None:
    version, cells = table.read()
    if nginx_version(find_nginx()) != version:
        return
    seen = {case.name: await table.cell(nginx, case) for case in MALFORMED}
    assert seen == {name: theirs for name, (_, theirs) in cells.items()}
