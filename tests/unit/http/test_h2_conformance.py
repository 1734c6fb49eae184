"""RFC 9113 and RFC 7541, section by section, over raw sockets."""

from __future__ import annotations

import asyncio

import pytest

from moorings.http import Request, Response
from tests.support.http2 import NO_ERROR, PREFACE, PROTOCOL, SETTINGS, connected, frame, get
from tests.unit.http.h2_cases import CASES, Case
from tests.unit.http.wire import served


async def handler(request: Request) -> Response:
    if request.target == b"/wait":
        await request.signal.wait()
    await request.bytes()
    return Response("hello")


def test_there_are_cases_enough_and_no_two_of_a_name() -> None:
    assert len(CASES) >= 80
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_server_does_what_the_rfc_says(case: Case) -> None:
    async with served(handler) as s, connected(s.port) as client:
        await client.send(case.sent)
        for stream in case.answers:
            assert (await client.exchange(stream)).status == 200
        for stream, code in case.resets.items():
            assert (await client.exchange(stream)).reset == code
        if case.ends:
            await client.rest()
            assert [frame.code in case.ends for frame in client.goaways] == [True], client.goaways
        elif case.section not in ("3.8", "7"):
            assert await client.alive()
            assert client.goaways == []
            assert {n for n, e in client.exchanges.items() if e.reset is not None} == set(case.resets)


async def test_an_invalid_preface_ends_the_connection() -> None:
    async with served(handler) as s, connected(s.port, handshake=False) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", frame(SETTINGS))
        await client.rest()
        assert client.ended
        assert s.requests == []


async def test_a_preface_may_come_byte_by_byte() -> None:
    async with served(handler) as s, connected(s.port, handshake=False) as client:
        for byte in PREFACE + frame(SETTINGS) + get():
            await client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.exchange()).body == b"hello"


async def test_a_preface_that_no_settings_follow_is_an_error() -> None:
    async with served(handler) as s, connected(s.port, handshake=False) as client:
        await client.send(PREFACE, get())
        await client.rest()
        assert [goaway.code for goaway in client.goaways] == [PROTOCOL]
        assert s.requests == []


async def test_the_server_begins_with_its_settings_and_acknowledges_the_clients() -> None:
    async with served(handler) as s, connected(s.port) as client:
        assert await client.alive()
        kinds = [(got.kind, got.flags) for got in client.frames]
        assert kinds[0] == (SETTINGS, 0)
        assert (SETTINGS, 1) in kinds
        assert client.goaways == []
        assert all(goaway.code == NO_ERROR for goaway in client.goaways)
