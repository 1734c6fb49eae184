"""What the example with several ports promises, over sockets."""

from __future__ import annotations

import asyncio

from tests.support.platform import Platform
from tests.support.raw import get


async def fetch(platform: Platform, target: str, headers: dict[str, str] | None = None) -> str:
    answer = await get(platform.address, target, headers or {})
    assert answer.status == 200, answer.body
    return answer.text()


async def test_the_path_chooses_the_port(platform: Platform) -> None:
    assert await fetch(platform, "/hello") == "pages: /hello\n"
    assert await fetch(platform, "/grpc/hello") == "api: /grpc/hello\n"
    assert 'requests_total{part="pages"} 1' in await fetch(platform, "/metrics")


async def test_interleaved_requests_never_cross(platform: Platform) -> None:
    targets = [f"{path}/{number}" for number in range(40) for path in ("/page", "/grpc", "/metrics")]
    answers = await asyncio.gather(*(fetch(platform, target) for target in targets))
    for target, answer in zip(targets, answers, strict=True):
        if target.startswith("/metrics"):
            assert answer.startswith("requests_total"), target
        else:
            assert answer == f"{'api' if target.startswith('/grpc') else 'pages'}: {target}\n"
    last = await fetch(platform, "/metrics")
    assert last.splitlines() == [
        'requests_total{part="pages"} 40',
        'requests_total{part="api"} 40',
        'requests_total{part="metrics"} 41',
    ]


async def test_nothing_from_outside_chooses_the_port(platform: Platform) -> None:
    names = ("Port", "X-Port", "X-Forwarded-Port", "CF-Container-Target-Port", "X-Moorings-Port", "Container-Port")
    headers = dict.fromkeys(names, "9090") | {"Host": "localhost:9090"}
    assert await fetch(platform, "/hello?port=9090", headers) == "pages: /hello?port=9090\n"


async def test_the_first_answer_comes_when_all_ports_accept(platform: Platform) -> None:
    metrics, api, pages = await asyncio.gather(*(fetch(platform, target) for target in ("/metrics", "/grpc", "/")))
    assert metrics.startswith("requests_total")
    assert (api, pages) == ("api: /grpc\n", "pages: /\n")
    assert platform.output.count("MultiPortContainer/service starting") == 1
