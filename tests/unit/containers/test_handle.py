"""``ctx.container``: what an object does with its container directly, on real loopback ports."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from moorings.containers.container import Container
from moorings.errors import ConfigError, ContainerNotRunning
from moorings.runtimes.fake import Listens, Script
from tests.unit.containers.support import Harness, harness


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its first line."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        line = head.split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(line), line))


class Backend(Container):
    entrypoint = ("server",)
    default_port = 3000
    required_ports = (3000, 3001)


SCRIPT = Script([Listens(3000, answer), Listens(3001, answer)])


def handle(h: Harness) -> Any:
    return h.instance().ctx.container


async def test_it_starts_the_container_and_says_that_it_runs() -> None:
    async with harness(Backend, SCRIPT) as h:
        assert handle(h).running is False
        await h.run(handle(h).start())
        assert handle(h).running is True
        assert len(h.machine.started) == 1


async def test_monitor_waits_for_the_end_and_tells_it() -> None:
    async with harness(Backend, SCRIPT) as h:
        with pytest.raises(ContainerNotRunning):
            await handle(h).monitor()
        await h.run(handle(h).start())
        watching = asyncio.ensure_future(handle(h).monitor())
        await h.settle()
        assert not watching.done()
        h.machine.end(h.machine.running[0], 3)
        assert (await watching).code == 3


async def test_a_signal_reaches_the_program_and_changes_nothing_else() -> None:
    async with harness(Backend, Script(SCRIPT.steps, on_signal={signal.SIGHUP: ()})) as h:
        with pytest.raises(ContainerNotRunning):
            await handle(h).signal(signal.SIGHUP)
        await h.run(handle(h).start())
        await handle(h).signal(signal.SIGHUP)
        assert [signum for _, signum in h.machine.signals] == [signal.SIGHUP]
        assert handle(h).running is True


async def test_destroy_returns_when_the_container_has_ended() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(handle(h).start())
        await h.run(handle(h).destroy())
        assert handle(h).running is False
        assert h.machine.running == []


async def test_a_tcp_port_is_fetched_from_and_connected_to() -> None:
    async with harness(Backend, SCRIPT) as h:
        await h.run(h.stub().start_and_wait_for_ports())
        port = handle(h).get_tcp_port(3001)
        response = await port.fetch("/path?x=1", method="POST", body=b"")
        assert await response.text() == "POST /path?x=1 HTTP/1.1"
        reader, writer = await port.connect()
        writer.write(b"GET /raw HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


async def test_a_tcp_port_of_a_container_that_does_not_run_cannot_be_connected_to() -> None:
    async with harness(Backend, SCRIPT) as h:
        with pytest.raises(ContainerNotRunning):
            await handle(h).get_tcp_port(3000).connect()
        with pytest.raises(ConfigError, match="doesn't declare port 9"):
            handle(h).get_tcp_port(9)
