"""What the singleton example promises, over sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.platform import Platform
from tests.support.raw import get


async def draw(platform: Platform, visitor: int) -> Any:
    answer = await get(platform.address, "/", {"X-Session-ID": f"visitor-{visitor}"})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_whoever_asks_reaches_the_one_process(platform: Platform) -> None:
    answers = await asyncio.gather(*(draw(platform, visitor) for visitor in range(50)))
    assert len({answer["process"] for answer in answers}) == 1
    assert sorted(answer["ticket"] for answer in answers) == list(range(1, 51))


async def test_after_a_crash_there_is_one_process_again(platform: Platform) -> None:
    first = await draw(platform, 1)
    platform.kill_containers()
    await asyncio.to_thread(platform.wait_for_output, r"GlobalService/singleton ended with exit code 137")
    answers = await asyncio.gather(*(draw(platform, visitor) for visitor in range(20)))
    assert len({answer["process"] for answer in answers} | {first["process"]}) == 2
    assert sorted(answer["ticket"] for answer in answers) == list(range(1, 21))
