"""What the long job example promises, over sockets; its minutes are fractions of a second here."""

from __future__ import annotations

import asyncio

from examples.conftest import Variant
from tests.support.raw import exchange, request


def in_fractions_of_a_second(variant: Variant, *, keepalive_every: str) -> None:
    variant.replace('"5m"', '"600ms"')
    variant.replace("keepalive_every = 60.0", f"keepalive_every = {keepalive_every}")
    variant.replace("look_every = 600.0", "look_every = 1.8")
    variant.replace('"SECONDS", "1200"', '"SECONDS", "1.5"', file="container/server.py")


async def test_touching_storage_keeps_it_awake_until_the_job_is_done_and_then_it_sleeps(variant: Variant) -> None:
    in_fractions_of_a_second(variant, keepalive_every="0.1")
    with variant.serve() as platform:
        answer = await exchange(platform.address, request("POST", "/film", body=b"film.mov"), method="POST")
        assert answer.status == 200, answer.body
        assert answer.json()["input"] == "film.mov"
        await asyncio.to_thread(platform.wait_for_output, "LongRunningContainer/film stopped")
        assert platform.output.count("LongRunningContainer/film starting") == 1


async def test_without_it_the_container_sleeps_in_the_middle_of_the_job(variant: Variant) -> None:
    in_fractions_of_a_second(variant, keepalive_every="60.0")
    platform = variant.serve()
    try:
        job = asyncio.create_task(exchange(platform.address, request("POST", "/film", body=b"film.mov"), method="POST"))
        await asyncio.to_thread(platform.wait_for_output, "LongRunningContainer/film stopped")
        assert not job.done()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
    finally:
        platform.kill()  # a stop would wait for the job, which never ends
