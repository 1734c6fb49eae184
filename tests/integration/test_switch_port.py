"""``switch_port`` holds for one request, however requests interleave; nobody outside can choose a port."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.integration.conftest import APPS
from tests.support.platform import Platform
from tests.support.raw import Address, HeaderList, exchange, get, request

PORT_OF = {"/grpc": "8081", "/metrics": "9090", "/other": "8080"}

# Names under which a port could be smuggled in; the first is the one that Cloudflare's library uses inside.
CHOOSERS = (
    "cf-container-target-port",
    "X-Container-Port",
    "Container-Port",
    "X-Moorings-Port",
    "X-Port",
    "X-Forwarded-Port",
    "X-Target-Port",
    "Switch-Port",
)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with Platform(APPS / "ports.py", tmp_path_factory.mktemp("ports") / "platform") as platform:
        yield platform.address


async def port_of(address: Address, target: str, headers: HeaderList = (), host: str = "test.example") -> str:
    answer = await exchange(address, request("GET", target, headers, host=host))
    assert answer.status == 200, answer
    seen: str = answer.json()["port"]
    return seen


async def test_100_requests_to_three_ports_that_all_chose_before_any_was_forwarded_never_cross(ports: Address) -> None:
    paths = [random.choice(list(PORT_OF)) for _ in range(100)]
    seen = await asyncio.gather(*(port_of(ports, f"{path}/{n}?crowd=100") for n, path in enumerate(paths)))
    assert seen == [PORT_OF[path] for path in paths]


async def test_requests_that_interleave_at_random_never_cross(ports: Address) -> None:
    async def client(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(10):
            path = choice.choice(list(PORT_OF))
            assert await port_of(ports, path) == PORT_OF[path]

    await asyncio.gather(*(client(seed) for seed in range(30)))


@pytest.mark.parametrize("port", ["8080", "8081", "9090"])
async def test_the_worker_can_choose_a_port_for_a_request(ports: Address, port: str) -> None:
    assert await port_of(ports, f"/by-worker/{port}") == port


@pytest.mark.parametrize("name", CHOOSERS)
async def test_a_header_from_outside_chooses_no_port(ports: Address, name: str) -> None:
    for port in ("8081", "9090", "4711"):
        assert await port_of(ports, "/other", ((name, port),)) == "8080"
        assert await port_of(ports, "/grpc", ((name, port),)) == "8081"


@pytest.mark.parametrize("name", ["port", "container_port", "switch_port", "cf-container-target-port"])
async def test_a_query_from_outside_chooses_no_port(ports: Address, name: str) -> None:
    assert await port_of(ports, f"/other?{name}=9090") == "8080"


async def test_the_port_of_the_host_or_of_an_absolute_target_chooses_no_port(ports: Address) -> None:
    assert await port_of(ports, "/other", host="test.example:9090") == "8080"
    assert await port_of(ports, "http://test.example:9090/other", host="test.example:9090") == "8080"


async def test_a_port_that_the_class_does_not_declare_is_an_error(ports: Address) -> None:
    answer = await get(ports, "/undeclared")
    assert answer.status == 500
    assert await port_of(ports, "/other") == "8080"
