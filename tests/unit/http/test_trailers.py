"""Trailers of messages that are made in Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorings.clock import SystemClock
from moorings.http import Headers, Request, Response
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import dialled, get, request_head, served, upstream


async def test_trailers_of_a_response_follow_its_body() -> None:
    async def answer(request: Request) -> Response:
        return Response(b"abc", trailers={"Checksum": "x1"})

    async with served(answer) as s, dialled(s.port) as client:
        got = await client.ask(get())
        assert (got.body, got.trailers) == (b"abc", b"Checksum: x1\r\n")
        assert (await client.ask(get())).status == 200


async def test_trailers_may_be_set_until_the_body_has_ended() -> None:
    async def answer(request: Request) -> Response:
        trailers = Headers()

        async def body() -> AsyncIterator[bytes]:
            yield b"abc"
            trailers["Size"] = "3"

        return Response(body(), trailers=trailers)

    async with served(answer) as s, dialled(s.port) as client:
        assert (await client.ask(get())).trailers == b"Size: 3\r\n"


async def test_a_response_keeps_its_trailers_while_python_reads_it() -> None:
    response = Response("abc", trailers=[("Sum", "7")])
    assert await response.text() == "abc"
    assert response.trailers == {"Sum": "7"}


async def test_trailers_of_a_request_are_sent_to_the_upstream() -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        seen.append(await reader.readuntil(b"0\r\nSum: 7\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            return await forward(Request(request, trailers={"Sum": "7"}), pool)

        async with served(handler) as s, dialled(s.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert (await client.answer()).status == 204
        pool.abort()
    assert seen == [b"3\r\nabc\r\n0\r\nSum: 7\r\n\r\n"]


@pytest.mark.parametrize("name", ["Content-Length", "Host", "Transfer-Encoding", "no token"])
def test_a_field_that_must_not_be_a_trailer_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"trailer|header name"):
        Response("abc", trailers={name: "1"})


def test_a_response_that_has_no_body_has_no_trailers() -> None:
    with pytest.raises(ValueError, match="has no body"):
        Response(status=204, trailers={"Sum": "7"})
