"""What the session affinity example promises, over sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.conftest import Variant
from tests.support.platform import Platform
from tests.support.raw import exchange, get, request


async def visit(platform: Platform, session: str | None = None) -> Any:
    answer = await get(platform.address, "/", {} if session is None else {"X-Session-ID": session})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_a_session_reaches_the_same_process_with_its_memory(platform: Platform) -> None:
    body = request("POST", "/", {"X-Session-ID": "alice"}, b"buy milk")
    first = (await exchange(platform.address, body, method="POST")).json()
    assert first["notes"] == ["buy milk"]
    later = [await visit(platform, "alice") for _ in range(5)]
    assert {answer["process"] for answer in later} == {first["process"]}
    assert [answer["visits"] for answer in later] == [1, 2, 3, 4, 5]
    assert later[-1]["notes"] == ["buy milk"]


async def test_two_sessions_have_two_processes_and_share_nothing(platform: Platform) -> None:
    alice, bob = await asyncio.gather(visit(platform, "alice"), visit(platform, "bob"))
    assert alice["process"] != bob["process"]
    assert alice["visits"] == bob["visits"] == 1


async def test_concurrent_first_requests_of_a_session_start_one_process(platform: Platform) -> None:
    answers = await asyncio.gather(*(visit(platform, "crowd") for _ in range(50)))
    assert len({answer["process"] for answer in answers}) == 1
    assert max(answer["visits"] for answer in answers) == 50
    assert platform.output.count("SessionBackend/crowd starting") == 1


async def test_a_request_without_a_session_gets_one_of_its_own(platform: Platform) -> None:
    first, second = await visit(platform), await visit(platform)
    assert first["process"] != second["process"]


async def test_it_sleeps_after_its_idle_time_and_wakes_with_the_next_request(variant: Variant) -> None:
    variant.replace('"30m"', '"300ms"')
    with variant.serve() as platform:
        first = await visit(platform, "alice")
        await asyncio.to_thread(platform.wait_for_output, r"SessionBackend/alice stopped")
        woken = await visit(platform, "alice")
        assert woken["process"] != first["process"]
        assert woken["visits"] == 1


def test_dev_names_what_it_bound(platform: Platform) -> None:
    platform.wait_for_output(r"env\.SESSION_BACKEND → SessionBackend \(container, port 3000, sleeps after 30m\)")
