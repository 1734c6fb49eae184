"""What the counter example promises, over sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from examples.conftest import Variant
from tests.support.platform import Mode, Platform
from tests.support.raw import exchange, get, request


async def post(platform: Platform, target: str) -> int:
    answer = await exchange(platform.address, request("POST", target), method="POST")
    assert answer.status == 200, answer.body
    value: int = answer.json()["value"]
    return value


async def history(platform: Platform, name: str) -> list[Any]:
    rows: list[Any] = (await get(platform.address, f"/{name}")).json()["history"]
    return rows


async def test_concurrent_increments_are_never_lost(platform: Platform) -> None:
    values = await asyncio.gather(*(post(platform, "/visits") for _ in range(100)))
    assert sorted(values) == list(range(1, 101))


async def test_names_count_for_themselves_and_keep_a_history(platform: Platform) -> None:
    assert [await post(platform, "/a"), await post(platform, "/a?by=10"), await post(platform, "/b")] == [1, 11, 1]
    assert await history(platform, "a") == [{"step": 10, "value": 11}, {"step": 1, "value": 1}]
    assert await history(platform, "nobody") == []


async def test_a_counter_can_be_emptied(platform: Platform) -> None:
    await post(platform, "/a?by=5")
    answer = await exchange(platform.address, request("DELETE", "/a"), method="DELETE")
    assert answer.status == 204
    assert await history(platform, "a") == []
    assert await post(platform, "/a") == 1


async def test_it_goes_on_where_it_was_after_the_platform_was_killed(variant: Variant, tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "kept")]
    worker = variant.folder / "worker.py"
    first = Platform(worker, tmp_path / "first", mode=Mode.SERVE, options=data)
    try:
        assert [await post(first, "/a") for _ in range(3)] == [1, 2, 3]
        first.crash()
        with Platform(worker, tmp_path / "second", mode=Mode.SERVE, options=data) as second:
            assert await post(second, "/a") == 4
            assert [row["value"] for row in await history(second, "a")] == [4, 3, 2, 1]
    finally:
        first.kill()
