"""Answers over HTTP/2 that break the rules: each fails its own exchange, and others on its connection go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamReset, WindowUpdated
from hyperframe.frame import DataFrame, HeadersFrame, WindowUpdateFrame

from moorings.errors import UpstreamError
from moorings.http import Request
from tests.unit.proxy.h2_upstream import OK, Peer, behind

Fields = list[tuple[str, str]]
Malformed = Callable[[Peer, int], None]


def head(peer: Peer, stream: int, fields: Fields, *, end: bool = False) -> None:
    """A HEADERS frame, whatever the stream's state is."""
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    peer.writer.write(HeadersFrame(stream, data=peer.h2.encoder.encode(fields), flags=flags).serialize())


def data(peer: Peer, stream: int, body: bytes, *, end: bool = False) -> None:
    """A DATA frame, whatever the stream's state is."""
    peer.writer.write(DataFrame(stream, data=body, flags=["END_STREAM"] if end else []).serialize())


def window(peer: Peer, stream: int, increment: int) -> None:
    peer.writer.write(WindowUpdateFrame(stream, window_increment=increment).serialize())


def too_long(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, ("content-length", "2")])
    data(peer, stream, b"abc", end=True)


def too_short(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, ("content-length", "4")])
    data(peer, stream, b"abc", end=True)


def too_long_in_pieces(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, ("content-length", "2")])
    for _ in range(3):
        data(peer, stream, b"a")


def length_that_is_none(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, ("content-length", "two")])
    data(peer, stream, b"ab", end=True)


def no_status(peer: Peer, stream: int) -> None:
    head(peer, stream, [("x", "y")], end=True)


def request_pseudo_field(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, (":path", "/")], end=True)


def body_before_the_head(peer: Peer, stream: int) -> None:
    data(peer, stream, b"abc")
    data(peer, stream, b"abc")


def trailers_that_end_nothing(peer: Peer, stream: int) -> None:
    head(peer, stream, OK)
    data(peer, stream, b"abc")
    head(peer, stream, [("x-sum", "1")])


def head_beyond_the_limit(peer: Peer, stream: int) -> None:
    head(peer, stream, [*OK, *((f"x-{number}", "v" * 1000) for number in range(70))], end=True)


def window_beyond_its_bounds(peer: Peer, stream: int) -> None:
    window(peer, stream, 2**31 - 1)


CASES: dict[Malformed, ErrorCodes | None] = {  # with the code that its stream is reset with, where it isn't over
    too_long: None,
    too_short: None,
    too_long_in_pieces: ErrorCodes.PROTOCOL_ERROR,
    length_that_is_none: ErrorCodes.PROTOCOL_ERROR,
    no_status: None,
    request_pseudo_field: None,
    body_before_the_head: ErrorCodes.PROTOCOL_ERROR,
    trailers_that_end_nothing: ErrorCodes.PROTOCOL_ERROR,
    head_beyond_the_limit: None,
    window_beyond_its_bounds: ErrorCodes.FLOW_CONTROL_ERROR,
}


async def streams_of(peer: Peer, count: int) -> dict[str, int]:
    """The streams of the next requests, by path."""
    streams = {}
    for _ in range(count):
        request = await peer.next(RequestReceived)
        fields: dict[str, str] = dict(request.headers)  # type: ignore[arg-type]  # pairs of str
        streams[fields[":path"]] = request.stream_id
    return streams


def request(path: str, method: str = "GET") -> Request:
    return Request(f"http://name.example{path}", method=method)


async def body_of(sent: asyncio.Task[bytes]) -> bytes:
    async with asyncio.timeout(10):
        return await sent


@pytest.mark.parametrize("malformed", CASES, ids=lambda case: case.__name__)
async def test_a_malformed_answer_ends_its_own_stream_only(malformed: Malformed) -> None:
    code = CASES[malformed]

    async def script(peer: Peer) -> None:
        streams = await streams_of(peer, 3)
        head(peer, streams["/begun"], OK)
        data(peer, streams["/begun"], b"one, ")
        malformed(peer, streams["/bad"])
        if code is not None:
            reset = await peer.next(StreamReset)
            assert (reset.stream_id, reset.error_code) == (streams["/bad"], code)
        data(peer, streams["/begun"], b"two", end=True)
        peer.answer(streams["/later"], b"later")
        peer.answer((await streams_of(peer, 1))["/next"], b"next")

    async with behind(script) as b:

        async def body(path: str) -> bytes:
            return await (await b.send(request(path))).bytes()

        tasks = [asyncio.ensure_future(body(path)) for path in ("/begun", "/bad", "/later")]
        with pytest.raises(UpstreamError):
            await body_of(tasks[1])
        assert await body_of(tasks[0]) == b"one, two"
        assert await body_of(tasks[2]) == b"later"
        assert await body("/next") == b"next"
        assert b.pool.open == 1
        assert len(b.ends) == 4


async def test_the_answer_to_a_head_request_ends_with_its_head_and_a_body_ends_its_own_stream_only() -> None:
    async def script(peer: Peer) -> None:
        streams = await streams_of(peer, 2)
        head(peer, streams["/head"], [*OK, ("content-length", "3")])
        data(peer, streams["/head"], b"abc")
        assert (await peer.next(StreamReset)).stream_id == streams["/head"]
        peer.answer(streams["/other"], b"other")

    async with behind(script) as b:
        both = (("/head", "HEAD"), ("/other", "GET"))
        asked = [asyncio.ensure_future(b.send(request(path, method))) for path, method in both]
        with pytest.raises(UpstreamError):
            await (await asked[0]).bytes()
        assert await (await asked[1]).bytes() == b"other"
        assert b.pool.open == 1


async def test_a_304_may_tell_the_length_of_the_body_that_it_has_not() -> None:
    async def script(peer: Peer) -> None:
        streams = await streams_of(peer, 1)
        head(peer, streams["/"], [(":status", "304"), ("content-length", "40")])
        data(peer, streams["/"], b"", end=True)

    async with behind(script) as b:
        response = await b.send(request("/"))
        assert (response.status, await response.bytes()) == (304, b"")
        assert b.ends == [1]


async def test_the_bytes_of_a_malformed_answer_are_given_back_to_the_connections_window() -> None:
    async def script(peer: Peer) -> None:
        streams = await streams_of(peer, 1)
        data(peer, streams["/"], b"x" * 12_345)
        while (update := await peer.next(WindowUpdated)).delta != 12_345:
            pass
        assert update.stream_id == 0

    async with behind(script) as b:
        with pytest.raises(UpstreamError):
            await b.send(request("/"))
