"""What the safe start-up example promises, over sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.conftest import Variant
from tests.support.platform import Platform
from tests.support.raw import Connection, get, request


async def ask(platform: Platform) -> Any:
    answer = await get(platform.address, "/")
    assert answer.status == 200, answer.body
    return answer.json()


async def test_concurrent_first_requests_wait_for_one_initialization(platform: Platform) -> None:
    answers = await asyncio.gather(*(ask(platform) for _ in range(50)))
    assert {answer["loads"] for answer in answers} == {1}
    assert len({answer["process"] for answer in answers}) == 1
    assert platform.output.count("the model is loaded") == 1


async def test_clients_that_leave_while_it_starts_disturb_nobody(platform: Platform) -> None:
    leaving = [await Connection.open(platform.address) for _ in range(20)]
    for connection in leaving:
        await connection.send(request("GET", "/"))
    staying = [asyncio.create_task(ask(platform)) for _ in range(20)]
    await asyncio.to_thread(platform.wait_for_output, r"SafeContainer/model starting")
    for connection in leaving:
        connection.abort()
    answers = await asyncio.gather(*staying)
    assert {answer["loads"] for answer in answers} == {1}
    assert platform.output.count("SafeContainer/model starting") == 1


async def test_a_woken_program_is_initialized_again(variant: Variant) -> None:
    variant.replace('"10m"', '"300ms"')
    with variant.serve() as platform:
        first = await ask(platform)
        await asyncio.to_thread(platform.wait_for_output, r"SafeContainer/model stopped")
        woken = await ask(platform)
        assert woken["process"] != first["process"]
        assert woken["loads"] == 1


async def test_an_initialization_that_fails_is_tried_anew_by_the_next_request(variant: Variant) -> None:
    program, works, broken = "container/server.py", "model: dict[str, Any] = {", 'raise SystemExit("no model here")'
    variant.replace(works, f"{broken}\n{works}", file=program)
    with variant.serve() as platform:
        failures = await asyncio.gather(*(get(platform.address, "/") for _ in range(10)))
        assert {failure.status for failure in failures} == {500}
        assert all("ended with exit code 1" in failure.text() for failure in failures)
        assert any("no model here" in failure.text() for failure in failures)
        variant.replace(broken, "", file=program)
        await asyncio.to_thread(platform.wait_for_output, r"reloaded container/server.py")
        assert (await ask(platform))["loads"] == 1
