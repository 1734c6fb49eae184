"""What the example with several ports promises, over sockets."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.platform import Platform
from tests.support.raw import get

TEXT = {"request_serializer": str.encode, "response_deserializer": bytes.decode}


async def fetch(platform: Platform, target: str, headers: dict[str, str] | None = None) -> str:
    answer = await get(platform.address, target, headers or {})
    assert answer.status == 200, answer.body
    return answer.text()


def channel(platform: Platform) -> Any:
    host, port = platform.address
    return grpc.insecure_channel(f"{host}:{port}")


async def counted(platform: Platform, part: str) -> float:
    metrics = await fetch(platform, "/metrics")
    found = re.search(rf'^requests_total{{part="{part}"}} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_the_path_chooses_the_port(platform: Platform) -> None:
    assert await fetch(platform, "/hello") == "pages: /hello\n"
    with channel(platform) as shop:
        assert shop.unary_unary("/grpc.Shop/Price", **TEXT)("rope") == "12"
    assert (await counted(platform, "pages"), await counted(platform, "grpc")) == (1, 1)


def test_a_stream_in_each_direction_answers_as_it_is_asked(platform: Platform) -> None:
    with channel(platform) as shop:
        answers = list(shop.stream_stream("/grpc.Shop/Watch", **TEXT)(iter(["anchor", "sail"])))
    assert answers == ["anchor: 90", "sail: none left"]


def test_a_status_of_the_program_reaches_the_client(platform: Platform) -> None:
    with channel(platform) as shop, pytest.raises(grpc.RpcError) as raised:
        shop.unary_unary("/grpc.Shop/Price", **TEXT)("moon")
    error: Any = raised.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "there is no moon")


async def test_interleaved_requests_and_calls_never_cross(platform: Platform) -> None:
    with channel(platform) as shop:
        price = shop.unary_unary("/grpc.Shop/Price", **TEXT)
        calls = [price.future("anchor") for _ in range(40)]
        targets = [f"{path}/{number}" for number in range(40) for path in ("/page", "/metrics")]
        answers = await asyncio.gather(*(fetch(platform, target) for target in targets))
        assert {call.result(timeout=60) for call in calls} == {"90"}
    for target, answer in zip(targets, answers, strict=True):
        if target.startswith("/metrics"):
            assert "# TYPE requests_total counter" in answer, target
        else:
            assert answer == f"pages: {target}\n"
    assert (await counted(platform, "pages"), await counted(platform, "grpc")) == (40, 40)


async def test_nothing_from_outside_chooses_the_port(platform: Platform) -> None:
    names = ("Port", "X-Port", "X-Forwarded-Port", "CF-Container-Target-Port", "X-Moorings-Port", "Container-Port")
    headers = dict.fromkeys(names, "9090") | {"Host": "localhost:9090"}
    assert await fetch(platform, "/hello?port=9090", headers) == "pages: /hello?port=9090\n"


async def test_the_first_answer_comes_when_all_ports_accept(platform: Platform) -> None:
    metrics, pages = await asyncio.gather(fetch(platform, "/metrics"), fetch(platform, "/"))
    assert "requests_total" in metrics
    assert pages == "pages: /\n"
    assert platform.output.count("MultiPortContainer/service starting") == 1


def test_the_client_of_the_readme_prints_what_it_says(platform: Platform) -> None:
    host, port = platform.address
    client = Path(__file__).with_name("client.py")
    printed = subprocess.run(
        [sys.executable, client, f"{host}:{port}"], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout
    readme = Path(__file__).with_name("README.md").read_text()
    assert printed
    assert f"client.py\n{printed}$" in readme
