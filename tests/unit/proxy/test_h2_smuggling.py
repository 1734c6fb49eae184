"""A request of HTTP/2 is forwarded as the HTTP/1.1 request that it is, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from moorings.http import Limits
from tests.support.http2 import CALM, POST, Client, connected, data, get, headers, post
from tests.unit.http.h2_smuggling import CASES, Smuggling, broken_bodies
from tests.unit.http.wire import until
from tests.unit.proxy.proxied import Proxied, proxied

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Recording:
    """Everything that reached the upstream, byte for byte."""

    proxied: Proxied
    client: Client
    arrived: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def recording() -> AsyncIterator[Recording]:
    """A client of a server that forwards to an upstream, which answers every request once its last byte is there."""
    arrived = bytearray()

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            arrived.extend(chunk)
            if arrived.endswith((b"\r\n\r\n", b"END")):
                writer.write(ANSWER)

    async with proxied(record) as p, connected(p.front.port) as client:
        yield Recording(p, client, arrived)


def test_there_are_cases_enough_and_no_two_of_a_name() -> None:
    assert len(CASES) >= 30
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_nothing_of_a_smuggling_request_reaches_the_container(case: Smuggling) -> None:
    async with recording() as r:
        await r.client.send(case.sent)
        exchange = await r.client.exchange()
        assert exchange.reset is not None or exchange.status == 400, exchange
        assert r.arrived == b""
        await r.client.send(get(3, b"/after"))
        assert (await r.client.exchange(3)).body == b"ok"
        assert bytes(r.arrived).startswith(b"GET /after HTTP/1.1\r\nhost: test.example\r\n")
        assert r.arrived.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("case", tuple(broken_bodies()), ids=str)
async def test_a_body_that_is_not_whole_never_looks_whole_to_the_container(case: Smuggling) -> None:
    async with recording() as r:
        await r.client.send(case.sent)
        assert (await r.client.exchange()).reset is not None
        await until(lambda: r.proxied.behind.closed == r.proxied.behind.connections)
        assert r.arrived.count(b"HTTP/1.1") <= 1
        assert b"smuggled" not in r.arrived
        assert not r.arrived.endswith(b"0\r\n\r\n")


async def test_cookie_crumbs_are_joined() -> None:
    async with recording() as r:
        crumbs = ((b"cookie", b"a=1"), (b"x-other", b"1"), (b"cookie", b"b=2"), (b"cookie", b"c=3"))
        await r.client.send(get(1, b"/", *crumbs))
        assert (await r.client.exchange()).status == 200
        assert r.arrived.count(b"cookie:") == 1
        assert b"\r\ncookie: a=1; b=2; c=3\r\n" in r.arrived


async def test_a_body_of_unknown_length_is_forwarded_in_chunks_with_its_trailers() -> None:
    async with recording() as r:
        te = (b"te", b"trailers")
        await r.client.send(post(1, te), data(1, b"abc", 0), data(1, b"", 0), headers(1, [(b"x-sum", b"7")]))
        assert (await r.client.exchange()).status == 200
        head, _, body = bytes(r.arrived).partition(b"\r\n\r\n")
        assert b"\r\nTransfer-Encoding: chunked" in head
        assert b"\r\nTE: trailers\r\nConnection: TE" in head
        assert body == b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"


async def test_a_body_of_known_length_keeps_it() -> None:
    async with recording() as r:
        await r.client.send(post(1, (b"content-length", b"5")), data(1, b"abEND"))
        assert (await r.client.exchange()).status == 200
        head, _, body = bytes(r.arrived).partition(b"\r\n\r\n")
        assert b"content-length: 5" in head
        assert b"chunked" not in head
        assert body == b"abEND"


async def test_the_authority_becomes_host_and_who_asked_is_told() -> None:
    async with recording() as r:
        forged = ((b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"gopher"), (b"x-forwarded-host", b"evil"))
        await r.client.send(get(1, b"/p?q=1", *forged))
        assert (await r.client.exchange()).status == 200
        lines = bytes(r.arrived).split(b"\r\n")
        assert lines[:2] == [b"GET /p?q=1 HTTP/1.1", b"host: test.example"]
        told = [line for line in lines if line.lower().startswith(b"x-forwarded")]
        assert told == [
            b"X-Forwarded-For: 127.0.0.1",
            b"X-Forwarded-Proto: http",
            b"X-Forwarded-Host: test.example",
        ]


async def test_an_expectation_is_met_here_and_not_forwarded() -> None:
    async with recording() as r:
        await r.client.send(post(1, (b"expect", b"100-continue"), (b"content-length", b"3")))
        while not r.client.exchanges.get(1) or not r.client.exchanges[1].heads:
            await r.client.frame()
        assert dict(r.client.exchanges[1].heads[0]) == {b":status": b"100"}
        await r.client.send(data(1, b"END"))
        assert (await r.client.exchange()).status == 200
        assert b"expect" not in bytes(r.arrived).lower()


async def test_requests_with_one_field_block_are_forwarded_alike() -> None:
    async with recording() as r:
        for stream in (1, 3, 5):
            await r.client.send(get(stream, b"/%d" % stream, (b"x", b"y")))
            assert (await r.client.exchange(stream)).status == 200
        await r.client.send(headers(7, POST, extra=((b"x", b"y"),)))
        assert (await r.client.exchange(7)).status == 200
        assert r.arrived.count(b"\r\nx: y\r\n") == 4
        assert b"chunked" not in r.arrived


async def test_more_streams_than_allowed_are_refused_and_no_others() -> None:
    assert Limits().streams == 100
    async with recording() as r:
        streams = range(1, 205, 2)
        await r.client.send(*(post(stream) for stream in streams))
        assert [(await r.client.exchange(stream)).reset for stream in (201, 203)] == [7, 7]
        await r.client.send(*(data(stream, b"END") for stream in streams if stream < 201))
        assert await r.client.alive()
        assert all(goaway.code != CALM for goaway in r.client.goaways)
