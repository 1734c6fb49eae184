"""The functions beside the class, and the names that the documentation of Cloudflare leads one to expect."""

from __future__ import annotations

from typing import Any

import pytest

import moorings
from moorings import Container, Request, State, get_container, get_random, switch_port
from moorings.runtimes.fake import Listens, Script
from tests.unit.containers.support import harness


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000

    async def what_state(self) -> State:
        return await self.get_state()


SCRIPT = Script([Listens(3000)])


async def test_get_container_gives_the_singleton_unless_told_a_name() -> None:
    async with harness(Backend, SCRIPT) as h:
        assert get_container(h.namespace).name == "singleton"
        assert get_container(h.namespace, "alice").name == "alice"


async def test_get_random_gives_one_of_the_instances() -> None:
    async with harness(Backend, SCRIPT) as h:
        assert {get_random(h.namespace, 2).name for _ in range(100)} == {"instance-0", "instance-1"}
        assert {get_random(h.namespace).name for _ in range(200)} == {"instance-0", "instance-1", "instance-2"}


def test_switch_port_sets_an_attribute_and_nothing_that_is_sent() -> None:
    request = Request("http://container/")
    assert switch_port(request, 8080) is request
    assert request.container_port == 8080
    assert dict(request.headers) == {}
    for wrong in (0, 65536):
        with pytest.raises(ValueError, match="1 to 65535"):
            switch_port(request, wrong)
    with pytest.raises(TypeError, match="an int"):
        switch_port(request, "8080")  # type: ignore[arg-type]  # the user's mistake


async def test_a_state_is_a_record_that_passes_through_a_call() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        state: State = await h.stub().what_state()
        assert state == await h.stub().get_state()
        assert (state.status, state.exit_code) == ("healthy", None)
        assert isinstance(state.last_change, float)
        assert await moorings.Response.json(state).json() == {
            "status": "healthy",
            "last_change": state.last_change,
            "exit_code": None,
        }


CONTAINER = """default_port required_ports sleep_after env_vars entrypoint image enable_internet ping_endpoint h2c_ports
    labels instance_type max_instances stop_grace start start_and_wait_for_ports wait_for_port stop destroy get_state
    renew_activity_timeout schedule fetch container_fetch switch_port on_start on_stop on_exit on_error
    on_activity_expired"""
CTX = "id storage container block_concurrency_while wait_until abort"
CONTAINER_HANDLE = "running start monitor signal destroy get_tcp_port"
NAMESPACE = "get_by_name id_from_name id_from_string new_unique_id get get_random"
REQUEST = "url method headers text json bytes body signal"
RESPONSE = "status headers text json bytes body ok redirect"


@pytest.mark.parametrize("stub_name", ["start", "stop", "destroy", "get_state", "schedule", "fetch", "id", "name"])
async def test_a_stub_has_what_is_called_from_outside(stub_name: str) -> None:
    async with harness(Backend, SCRIPT) as h:
        assert hasattr(h.stub(), stub_name)


async def test_every_documented_name_exists() -> None:
    async with harness(Backend, SCRIPT) as h:
        instance = h.instance()
        things: list[tuple[Any, str]] = [
            (instance, CONTAINER),
            (type(instance.ctx), CTX),
            (instance.ctx.container, CONTAINER_HANDLE),
            (h.namespace, NAMESPACE),
            (Request("http://container/"), REQUEST),
            (moorings.Response(), RESPONSE),
        ]
        for thing, names in things:
            assert [name for name in names.split() if not hasattr(thing, name)] == []
