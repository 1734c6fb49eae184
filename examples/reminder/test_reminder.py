"""What the reminder example promises, over sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.conftest import Variant
from tests.support.platform import Mode, Platform
from tests.support.raw import Answer, exchange, get, request
from tests.support.waiting import eventually


async def send(platform: Platform, method: str, target: str, body: str) -> Answer:
    answer = await exchange(platform.address, request(method, target, body=body.encode()), method=method)
    assert answer.status in (200, 204), answer.body
    return answer


async def box(platform: Platform) -> Any:
    return (await get(platform.address, "/")).json()


async def until_delivered(platform: Platform, note: str) -> None:
    async def there() -> bool:
        return note in (await box(platform))["delivered"]

    await eventually(there, f"{note!r} is delivered")


async def test_an_alarm_reminds_once(platform: Platform) -> None:
    await send(platform, "POST", "/remind?in=1", "tea")
    assert (await box(platform))["delivered"] == []
    await until_delivered(platform, "tea")
    await send(platform, "POST", "/remind?in=0.1", "cake")
    await until_delivered(platform, "cake")
    assert (await box(platform))["delivered"] == ["tea", "cake"]


async def test_a_scheduled_call_starts_the_container_and_another_is_cancelled(platform: Platform) -> None:
    await send(platform, "POST", "/report?in=0.2", "sales")
    later = (await send(platform, "POST", "/report?in=3600", "costs")).json()["id"]
    await until_delivered(platform, "written: sales")

    async def done() -> bool:
        return (await box(platform))["planned"] == ["costs"]

    await eventually(done, "the call that has returned is no longer planned")
    await send(platform, "DELETE", "/report", later)
    assert (await box(platform))["planned"] == []


async def test_the_cron_can_be_tried_in_dev(platform: Platform) -> None:
    answer = await get(platform.address, "/cdn-cgi/handler/scheduled?cron=0+7+*+*+*&time=1777878000")
    assert answer.status == 200, answer.body
    await until_delivered(platform, "written: the report of 2026-05-04")


async def test_what_was_planned_happens_after_the_platform_was_killed(variant: Variant, tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "kept")]
    worker = variant.folder / "worker.py"
    first = Platform(worker, tmp_path / "first", mode=Mode.SERVE, options=data)
    try:
        await send(first, "POST", "/remind?in=0.5", "tea")
        await send(first, "POST", "/report?in=0.5", "sales")
        first.crash()
        with Platform(worker, tmp_path / "second", mode=Mode.SERVE, options=data) as second:
            await until_delivered(second, "tea")
            await until_delivered(second, "written: sales")
    finally:
        first.kill()
