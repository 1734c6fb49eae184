from __future__ import annotations

import random
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moorings.errors import NotCallable
from moorings.http import Request, Response
from moorings.objects.balancing import choose, instance_name
from moorings.objects.durable_object import DurableObject
from tests.unit.objects.support import namespace


class Service(DurableObject):
    limit = 3

    def echo(self, value: Any, *, again: Any = None) -> Any:
        return value if again is None else [value, again]

    async def give_socket(self) -> Any:
        return socket.socketpair()[0]

    def kind(self, request: Request) -> str:
        return type(request).__name__

    async def count(self, chunks: Any) -> int:
        return sum([len(chunk) async for chunk in chunks])

    def on_stop(self) -> None:
        """A hook."""

    def _secret(self) -> None:
        """Private."""


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**200,
        -1.5,
        "text",
        b"bytes",
        datetime(2026, 1, 2, tzinfo=UTC),
        timedelta(seconds=3),
        [1, (2, {3})],
        {"a": [1, {"b": None}]},
    ],
    ids=repr,
)
async def test_values_round_trip_exactly(value: Any) -> None:
    result = await namespace(Service).get_by_name("a").echo(value)
    assert result == value
    assert type(result) is type(value)


async def test_arguments_are_copies() -> None:
    sent = [1]
    result = await namespace(Service).get_by_name("a").echo(sent, again=sent)
    assert result == [[1], [1]]
    assert result[0] is not sent


async def test_a_value_that_cannot_be_copied_is_a_type_error_that_names_the_argument() -> None:
    stub = namespace(Service).get_by_name("a")
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TypeError, match=r"'value' of Service\.echo"):
            await stub.echo(left)
        with pytest.raises(TypeError, match=r"'again' of Service\.echo"):
            await stub.echo(1, again=left)
        with pytest.raises(TypeError, match=r"'chunks' of Service\.count"):
            await stub.count(left)


async def test_requests_and_byte_streams_go_by_handle() -> None:
    async def chunks() -> Any:
        yield b"abc"
        yield b"de"

    stub = namespace(Service).get_by_name("a")
    assert await stub.kind(Request("http://a/")) == "Request"
    assert await stub.count(chunks()) == 5
    assert isinstance(await stub.echo(Response("x")), Response)


async def test_a_call_that_does_not_fit_the_method_fails_at_the_call() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'value'"):
        await namespace(Service).get_by_name("a").echo()


@pytest.mark.parametrize(
    ("name", "why"), [("on_stop", "is a hook"), ("_secret", "is private"), ("limit", "is no method"), ("ech", "echo")]
)
def test_hooks_private_names_and_what_does_not_exist_are_refused(name: str, why: str) -> None:
    stub = namespace(Service).get_by_name("a")
    with pytest.raises(NotCallable, match=why):
        getattr(stub, name)
    assert not hasattr(stub, name)


def test_a_stub_lists_what_can_be_called() -> None:
    assert {"echo", "fetch", "id", "name"} <= set(dir(namespace(Service).get_by_name("a")))


def test_get_random_spreads_over_the_given_number_of_names() -> None:
    service = namespace(Service)
    names = Counter(service.get_random(3).name for _ in range(300))
    assert set(names) == {"instance-0", "instance-1", "instance-2"}
    assert {service.get_random(1).name for _ in range(10)} == {"instance-0"}


@pytest.mark.parametrize("instances", [0, -1])
def test_get_random_needs_at_least_one(instances: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        namespace(Service).get_random(instances)


def test_get_random_makes_no_names_but_the_two_it_draws() -> None:
    asked: list[str] = []

    def load(name: str) -> int:
        asked.append(name)
        return 0

    class Rng(random.Random):
        def sample(self, population: Any, k: int, **options: Any) -> list[Any]:
            assert population == range(1_000_000)
            return super().sample(population, k, **options)

    assert choose(1_000_000, load, Rng(7)) in asked
    assert len(asked) == 2


def test_get_random_has_a_bound() -> None:
    with pytest.raises(ValueError, match="at most 1,000,000"):
        namespace(Service).get_random(1_000_001)


def test_an_id_of_another_class_is_refused() -> None:
    class Other(DurableObject):
        pass

    with pytest.raises(ValueError, match="is no id of a Service"):
        namespace(Service).get(namespace(Other).id_from_name("q"))


@pytest.mark.parametrize("instances", [True, 2.0, "3"])
def test_get_random_takes_an_int(instances: Any) -> None:
    with pytest.raises(TypeError, match="int"):
        namespace(Service).get_random(instances)


def test_of_two_drawn_the_less_loaded_is_taken() -> None:
    load = {"instance-0": 5, "instance-1": 1}
    rng = random.Random(7)
    assert {choose(2, load.__getitem__, rng) for _ in range(50)} == {"instance-1"}


def test_two_choices_keep_the_longest_queue_short() -> None:
    rng = random.Random(7)
    load = dict.fromkeys(map(instance_name, range(100)), 0)
    for _ in range(10_000):
        load[choose(100, load.__getitem__, rng)] += 1
    assert max(load.values()) <= 103


def test_a_stub_is_there_at_once_and_makes_no_object() -> None:
    service = namespace(Service)
    stubs = [service.get_by_name("a"), service.get(service.new_unique_id()), service.get_random()]
    assert service.live() == []
    assert [stub.name for stub in stubs[:2]] == ["a", None]
    assert stubs[0].id == service.id_from_name("a")
    assert service.id_from_string(str(stubs[0].id)) == stubs[0].id


async def test_a_relative_url_is_resolved_against_the_container() -> None:
    class Where(DurableObject):
        async def fetch(self, request: Request) -> Response:
            sent = [request.method, str(request.url), request.headers.get("x-test"), await request.text()]
            return Response.json(sent)

    stub = namespace(Where).get_by_name("a")
    assert await (await stub.fetch("a/b?c=1")).json() == ["GET", "http://container/a/b?c=1", None, ""]
    response = await stub.fetch("http://other/x", method="PUT", headers={"X-Test": "1"}, body="body")
    assert await response.json() == ["PUT", "http://other/x", "1", "body"]
    response = await stub.fetch(Request("http://other/x"), method="POST", json={"a": 1})
    assert await response.json() == ["POST", "http://other/x", None, '{"a":1}']


async def test_plain_and_async_methods_are_called_alike() -> None:
    class Both(DurableObject):
        def plain(self) -> int:
            return 1

        async def suspending(self) -> int:
            return 2

    stub = namespace(Both).get_by_name("a")
    assert [await stub.plain(), await stub.suspending()] == [1, 2]
