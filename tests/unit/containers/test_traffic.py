"""Requests on their way into a container: the port, the start, and what happens when it has just gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.containers.helpers import switch_port
from moorings.errors import ConfigError, ContainerFailedToStart, UpstreamError
from moorings.http import Request, Response
from moorings.runtimes.base import ExitReason
from moorings.runtimes.fake import Listens, Script, Serve, StopsListening, Waits
from tests.unit.containers.support import harness


def answers(text: str) -> Serve:
    """A program that answers every request on its port with ``text``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return serve


class Ported(Container):
    entrypoint = ("server",)
    required_ports = (8080, 8081, 9090)
    sleep_after = "10s"


SCRIPT = Script([Listens(port, answers(str(port))) for port in Ported.required_ports])


async def text(response: Response) -> str:
    assert response.status == 200
    return await response.text()


async def test_fetch_starts_the_container_and_goes_to_the_first_required_port() -> None:
    async with harness(Ported, SCRIPT) as h:
        assert await text(await h.run(h.stub().fetch("/"))) == "8080"
        assert h.moves[:2] == ["starting", "running"]


async def test_fetch_awaits_a_port_not_yet_seen_accepting_even_when_others_are() -> None:
    script = Script([Listens(8080, answers("8080")), Waits(2), Listens(8081, answers("8081"))])
    async with harness(Ported, script) as h:
        assert await text(await h.run(h.stub().container_fetch("/", 8080))) == "8080"
        late = asyncio.ensure_future(h.stub().container_fetch("/", 8081))
        await h.clock.advance(1)
        assert not late.done()
        assert await text(await h.run(late)) == "8081"


async def test_switch_port_holds_for_its_request_only_also_when_requests_interleave() -> None:
    class Router(Ported):
        async def fetch(self, request: Request) -> Response:
            if request.url.path != "/none":
                self.switch_port(int(request.url.path[1:]))
            await asyncio.sleep(0)
            await asyncio.wait_for(asyncio.sleep(0), 1)
            return await super().fetch(request)

    async with harness(Router, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())

        async def one(path: str) -> None:
            assert await text(await h.stub().fetch(f"/{path}")) == ("8080" if path == "none" else path)

        await asyncio.gather(*(one(path) for _ in range(33) for path in ("8081", "9090", "none")))


async def test_switch_port_inside_a_child_task_means_the_same_request() -> None:
    class Router(Ported):
        async def fetch(self, request: Request) -> Response:
            async def choose() -> None:
                self.switch_port(9090)

            await asyncio.wait_for(choose(), 1)
            return await super().fetch(request)

    async with harness(Router, SCRIPT) as h:
        assert await text(await h.run(h.stub().fetch("/"))) == "9090"


async def test_the_function_switch_port_sets_an_attribute_of_the_request() -> None:
    async with harness(Ported, SCRIPT) as h:
        request = switch_port(Request("http://container/"), 8081)
        assert await text(await h.run(h.stub().fetch(request))) == "8081"


async def test_fetch_inside_the_object_takes_requests_and_says_what_takes_urls() -> None:
    async with harness(Ported, SCRIPT) as h:
        with pytest.raises(TypeError, match="container_fetch takes URLs"):
            await h.instance().fetch("/")


@pytest.mark.parametrize(
    ("attribute", "value"), [("env_vars", {"A": 1}), ("entrypoint", "python3 x"), ("labels", ["x"])]
)
async def test_an_attribute_that_code_has_spoilt_fails_the_start_and_is_named(attribute: str, value: Any) -> None:
    class Spoilt(Ported):
        def spoil(self) -> None:
            setattr(self, attribute, value)

    async with harness(Spoilt, SCRIPT) as h:
        await h.stub().spoil()
        with pytest.raises(ContainerFailedToStart, match=rf"Spoilt\.{attribute}"):
            await h.run(h.stub().start())
        await h.settle()
        assert h.controller().slots.used == 0


async def test_a_port_not_declared_is_refused() -> None:
    async with harness(Ported, SCRIPT) as h:
        with pytest.raises(ConfigError, match="doesn't declare port 1"):
            await h.run(h.stub().container_fetch("/", 1))
        with pytest.raises(ConfigError, match="doesn't declare port 2"):
            await h.run(h.stub().fetch(switch_port(Request("http://container/"), 2)))


async def test_switch_port_outside_of_a_request_is_refused() -> None:
    async with harness(Ported, SCRIPT) as h:
        with pytest.raises(RuntimeError, match="inside fetch"):
            h.instance().switch_port(8081)


async def test_a_class_without_a_port_says_what_to_set() -> None:
    class Portless(Container):
        entrypoint = ("job",)

    async with harness(Portless, Script()) as h:
        with pytest.raises(ConfigError, match=r"set Portless\.default_port"):
            await h.run(h.stub().fetch("/"))


async def test_requests_in_flight_return_to_none_however_they_end() -> None:
    async with harness(Ported, SCRIPT) as h:
        for _ in range(3):
            assert await text(await h.run(h.stub().fetch("/"))) == "8080"
        h.machine.follow(h.machine.running[0], StopsListening(8080))
        await h.settle()
        with pytest.raises(UpstreamError):
            await h.run(h.stub().fetch("/"))
        with pytest.raises(ConfigError):
            await h.stub().container_fetch("/", 1)
        assert h.controller().in_flight == 0


@pytest.mark.parametrize("body", [None, b"a body", "streamed"])
async def test_a_request_that_meets_a_container_that_has_just_died_is_served_by_the_next(body: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a body"

    sent = chunks() if body == "streamed" else body
    async with harness(Ported, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        controller = h.controller()
        token = h.machine.running[0]
        h.machine.follow(token, *(StopsListening(port) for port in Ported.required_ports))
        await h.settle()
        method = "GET" if body is None else "POST"
        request: Any = asyncio.ensure_future(h.stub().fetch("/", method=method, body=sent))
        await h.settle()
        h.machine.end(token, 137, ExitReason.SIGNAL)
        assert await text(await h.run(request)) == "8080"
        assert len(h.machine.started) == 2
        assert controller.in_flight == 0


async def test_get_random_prefers_the_instance_with_fewer_requests_in_flight() -> None:
    release = asyncio.Event()

    class Slow(Ported):
        async def fetch(self, request: Request) -> Response:
            await release.wait()
            return Response("done")

    async with harness(Slow, SCRIPT) as h:
        busy = [asyncio.ensure_future(h.stub("instance-0").fetch("/")) for _ in range(5)]
        await h.settle()
        assert {h.namespace.get_random(2).name for _ in range(20)} == {"instance-1"}
        release.set()
        await asyncio.gather(*busy)
