"""Requests that go into a container over HTTP/2 count, and end with it, as others do."""

from __future__ import annotations

import asyncio

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from moorings.containers.container import Container
from moorings.errors import UpstreamError
from moorings.runtimes.base import ExitReason
from moorings.runtimes.fake import Listens, Script
from tests.unit.containers.support import harness


class Spoken(Container):
    entrypoint = ("server",)
    default_port = 8080
    h2c_ports = (8080,)
    sleep_after = "10s"


async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request with a head and some bytes, and leave it at that; /whole is answered whole."""
    peer = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    peer.initiate_connection()
    writer.write(peer.data_to_send())
    while data := await reader.read(65536):
        for event in peer.receive_data(data):
            if isinstance(event, RequestReceived):
                whole = (":path", "/whole") in [(str(name), str(value)) for name, value in event.headers or []]
                peer.send_headers(event.stream_id, [(":status", "200")])
                peer.send_data(event.stream_id, b"begun", end_stream=whole)
        writer.write(peer.data_to_send())


SCRIPT = Script([Listens(8080, begin)])


async def test_a_stream_in_progress_keeps_its_container_awake_and_its_end_lets_it_sleep() -> None:
    async with harness(Spoken, SCRIPT) as h:
        response = await h.run(h.stub().fetch("/"))
        assert h.controller().in_flight == 1
        await h.clock.advance(60)
        assert h.moves[-1] == "healthy"
        del response  # whoever had it wants no more of it
        assert h.controller().in_flight == 0
        await h.clock.advance(11)
        assert "stopping" in h.moves


async def test_a_container_that_ends_breaks_its_streams_off() -> None:
    async with harness(Spoken, SCRIPT) as h:
        whole = await h.run(h.stub().fetch("/whole"))
        assert await h.run(whole.bytes()) == b"begun"
        response = await h.run(h.stub().fetch("/"))
        h.machine.end(h.machine.running[0], 137, ExitReason.SIGNAL)
        with pytest.raises(UpstreamError):
            await h.run(response.bytes())
        assert h.controller().in_flight == 0
