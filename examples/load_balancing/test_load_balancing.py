"""What the load balancing example promises, over sockets."""

from __future__ import annotations

import asyncio
from typing import Any

from examples.conftest import Variant
from tests.support.platform import Platform
from tests.support.raw import get


async def primes(platform: Platform, below: int = 1000) -> Any:
    answer = await get(platform.address, f"/?below={below}")
    assert answer.status == 200, answer.body
    return answer.json()


async def test_requests_spread_over_three_processes_and_no_more(platform: Platform) -> None:
    # Each request draws two of three at random: 60 that leave one out have a chance of 10 to the power -10.
    answers = [await primes(platform) for _ in range(60)]
    assert len({answer["process"] for answer in answers}) == 3
    assert {answer["primes"] for answer in answers} == {168}


async def test_concurrent_requests_are_all_answered_by_the_same_three(platform: Platform) -> None:
    answers = await asyncio.gather(*(primes(platform, 10_000) for _ in range(60)))
    assert {answer["primes"] for answer in answers} == {1229}
    assert len({answer["process"] for answer in answers}) == 3


async def test_the_number_of_instances_is_an_argument(variant: Variant) -> None:
    variant.replace("get_random()", "get_random(5)")
    with variant.serve() as platform:
        answers = await asyncio.gather(*(primes(platform) for _ in range(150)))
        assert len({answer["process"] for answer in answers}) == 5
