"""Streams of one HTTP/2 connection: requests in, answers out, each at its own pace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moorings.errors import ClientDisconnected, DeadlineExceeded, NoInstanceAvailable
from moorings.http import Headers, Limits, Request, Response
from moorings.http.h2_protocol import STREAM_WINDOW
from moorings.observer import ErrorReported
from tests.support.http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GET,
    INITIAL_WINDOW,
    INTERNAL,
    NO_ERROR,
    WINDOW_UPDATE,
    Client,
    connected,
    data,
    frame,
    get,
    headers,
    post,
    reset,
    settings,
    window_update,
)
from tests.unit.http.wire import served, until


async def echo(request: Request) -> Response:
    return Response(await request.bytes())


async def path(request: Request) -> Response:
    return Response(request.target)


async def test_many_streams_are_answered_at_once_whatever_their_order() -> None:
    gates = {n: asyncio.Event() for n in range(1, 21, 2)}

    async def gated(request: Request) -> Response:
        await gates[int(request.url.path[1:])].wait()
        return Response(request.target)

    async with served(gated) as s, connected(s.port) as client:
        await client.send(*(get(n, b"/%d" % n) for n in gates))
        await until(lambda: len(s.requests) == 10)
        assert s.server.in_flight == 10
        for n in reversed(gates):
            gates[n].set()
            assert (await client.exchange(n)).body == b"/%d" % n
        assert s.server.in_flight == 0


async def test_a_request_is_what_the_client_sent() -> None:
    async def tell(request: Request) -> Response:
        body = await request.text()
        client = request.client
        assert client is not None
        return Response.json(
            [
                request.method,
                str(request.url),
                [(str(name), value) for name, value in request.headers.items()],
                body,
                client[0],
                [(str(name), value) for name, value in (request.trailers or Headers()).items()],
            ]
        )

    async with served(tell) as s, connected(s.port) as client:
        await client.send(post(1, (b"x-a", b"1"), (b"x-a", b"2"), path=b"/p?q=%20"), data(1, b"abc", 0))
        await client.send(headers(1, [(b"x-sum", b"7"), (b"content-length", b"9")]))
        told = json.loads((await client.exchange()).body)
    assert told == [
        "POST",
        "http://test.example/p?q=%20",
        [["host", "test.example"], ["x-a", "1"], ["x-a", "2"]],
        "abc",
        "127.0.0.1",
        [["x-sum", "7"]],
    ]


async def test_an_answer_has_its_fields_in_lower_case_and_none_of_a_connection() -> None:
    async def answer(request: Request) -> Response:
        return Response(
            "abc", headers={"X-A": "1", "Connection": "x-b", "X-B": "2", "Keep-Alive": "5", "Content-Length": "99"}
        )

    async with served(answer) as s, connected(s.port) as client:
        await client.send(get())
        exchange = await client.exchange()
    assert exchange.body == b"abc"
    names = [name for name, _ in exchange.heads[0]]
    assert names == [b":status", b"x-a", b"content-type", b"content-length", b"date"]
    assert exchange.get(b"content-length") == b"3"


async def test_head_and_bodyless_answers_end_with_their_head() -> None:
    async def answer(request: Request) -> Response:
        if request.target == b"/204":
            return Response(status=204)
        return Response("hello")

    async with served(answer) as s, connected(s.port) as client:
        head = ((b":method", b"HEAD"), *GET[1:])
        await client.send(headers(1, head), get(3, b"/204"))
        first, second = await client.exchange(1), await client.exchange(3)
    assert (first.status, first.body, first.get(b"content-length")) == (200, b"", b"5")
    assert (second.status, second.get(b"content-length")) == (204, None)
    assert not any(frame.kind == DATA for frame in client.frames)


@pytest.mark.parametrize("status", ["200", None, 99999, 12])
async def test_a_response_with_what_is_no_status_is_an_error_of_its_stream_alone(status: Any) -> None:
    async def wrong(request: Request) -> Response:
        response = Response("hello")
        if request.target == b"/wrong":
            response.status = status
        return response

    async with served(wrong) as s, connected(s.port) as client:
        await client.send(get(1, b"/wrong"), get(3))
        first, second = await client.exchange(1), await client.exchange(3)
    assert (first.status, json.loads(first.body)["code"]) == (500, "worker_error")
    assert (second.status, second.body) == (200, b"hello")


async def test_trailers_follow_a_body() -> None:
    async def answer(request: Request) -> Response:
        trailers = Headers()

        async def body() -> AsyncIterator[bytes]:
            yield b"abc"
            trailers["Grpc-Status"] = "0"

        return Response(body(), trailers=trailers)

    async with served(answer) as s, connected(s.port) as client:
        await client.send(get())
        exchange = await client.exchange()
    assert (exchange.body, exchange.heads[1]) == (b"abc", [(b"grpc-status", b"0")])


async def test_an_answer_waits_for_the_streams_window_and_others_go_on() -> None:
    async def big(request: Request) -> Response:
        return Response(b"x" * 10 if request.target == b"/" else b"y" * 100)

    async with served(big) as s, connected(s.port, (INITIAL_WINDOW, 10), greedy=False) as client:
        await client.send(get(1, b"/big"), get(3))
        assert (await client.exchange(3)).body == b"x" * 10
        assert client.exchanges[1].body == b"y" * 10
        for _ in range(90):
            await client.send(window_update(1, 1))
        exchange = await client.exchange(1)
        assert exchange.body == b"y" * 100


async def test_a_settings_change_may_make_a_window_negative_and_open_it_again() -> None:
    async def big(request: Request) -> Response:
        return Response(b"y" * 100)

    async with served(big) as s, connected(s.port, (INITIAL_WINDOW, 10), greedy=False) as client:
        await client.send(get())
        await client.head()
        await client.send(settings((INITIAL_WINDOW, 2)))
        assert await client.alive()
        assert client.exchanges[1].body == b"y" * 10
        await client.send(window_update(1, 9))
        while len(client.exchanges[1].body) == 10:
            await client.frame()
        assert await client.alive()
        assert client.exchanges[1].body == b"y" * 11
        await client.send(settings((INITIAL_WINDOW, 1000)))
        assert (await client.exchange()).body == b"y" * 100


async def test_a_large_answer_passes_through_the_connections_window() -> None:
    size = 3_000_000

    async def big(request: Request) -> Response:
        return Response(b"z" * size)

    async with served(big) as s, connected(s.port) as client:
        await client.send(get(1), get(3))
        assert [len((await client.exchange(n)).body) for n in (1, 3)] == [size, size]


async def test_a_body_made_in_python_is_made_no_faster_than_the_client_takes_it() -> None:
    made = 0

    async def endless(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield bytes(16 * 1024)

        return Response(body())

    async with served(endless) as s, connected(s.port, greedy=False) as client:
        await client.send(get())
        assert await client.alive()
        before = made
        assert await client.alive(b"anothers")
        assert made == before <= 10
        await client.send(reset(1))
        assert await client.alive(b"the last")
        await until(lambda: s.server.in_flight == 0)


async def test_a_slow_reader_of_one_request_holds_back_its_stream_and_no_other() -> None:
    go = asyncio.Event()
    size = 4 * STREAM_WINDOW

    async def slow(request: Request) -> Response:
        if request.target == b"/slow":
            await go.wait()
        return Response(str(len(await request.bytes())))

    async with served(slow) as s, connected(s.port) as client:
        await client.send(post(1, path=b"/slow"))
        await _upload(client, 1, STREAM_WINDOW, window=STREAM_WINDOW)
        await client.send(post(3))
        await _upload(client, 3, size, window=STREAM_WINDOW, end=True)
        assert (await client.exchange(3)).body == b"%d" % size
        assert not any(frame.kind == WINDOW_UPDATE and frame.stream == 1 for frame in client.frames)
        go.set()
        await _upload(client, 1, size - STREAM_WINDOW, window=0, end=True)
        assert (await client.exchange(1)).body == b"%d" % size


async def _upload(client: Client, stream: int, size: int, *, window: int, end: bool = False) -> None:
    """Send as many bytes, as the window allows it; ``end`` ends the stream with the last."""
    while size:
        while window == 0:
            got = await client.frame()
            assert got is not None
            if got.kind == WINDOW_UPDATE and got.stream == stream:
                window = int.from_bytes(got.payload, "big")
        step = min(window, size, 16 * 1024)
        size -= step
        window -= step
        await client.send(data(stream, bytes(step), 1 if end and size == 0 else 0))


async def test_a_client_that_resets_its_stream_sets_the_signal_and_nothing_more_is_sent() -> None:
    gone = asyncio.Event()

    async def wait(request: Request) -> Response:
        await request.signal.wait()
        gone.set()
        return Response("late")

    async with served(wait) as s, connected(s.port) as client:
        await client.send(get(1))
        await until(lambda: len(s.requests) == 1)
        await client.send(reset(1))
        await gone.wait()
        assert await client.alive()
        assert client.exchanges.get(1) is None
        assert s.server.in_flight == 0


@pytest.mark.parametrize(
    ("error", "reported"), [(ClientDisconnected("gone"), 0), (DeadlineExceeded("late"), 0), (LookupError("oops"), 1)]
)
async def test_what_a_client_that_has_gone_caused_itself_is_no_error_to_report(error: Exception, reported: int) -> None:
    async def wait(request: Request) -> Response:
        await request.signal.wait()
        raise error

    async with served(wait) as s, connected(s.port) as client:
        await client.send(get(1))
        await until(lambda: len(s.requests) == 1)
        await client.send(reset(1))
        await until(lambda: s.server.in_flight == 0)
        assert sum(isinstance(event, ErrorReported) for event in s.recorder.events) == reported


async def test_a_client_that_goes_away_sets_the_signals_of_all_its_streams() -> None:
    async def wait(request: Request) -> Response:
        await request.signal.wait()
        return Response("late")

    async with served(wait) as s:
        async with connected(s.port) as client:
            await client.send(get(1), get(3))
            await until(lambda: len(s.requests) == 2)
        await until(lambda: all(request.signal.aborted for request in s.requests))
        await until(lambda: s.server.in_flight == 0)
        assert not s.server.connections


async def test_a_reset_of_an_upload_breaks_the_body_off_for_its_reader() -> None:
    seen: list[BaseException] = []

    async def read(request: Request) -> Response:
        try:
            await request.bytes()
        except Exception as error:
            seen.append(error)
            raise
        return Response("whole")

    async with served(read) as s, connected(s.port) as client:
        await client.send(post(1), data(1, b"abc", 0))
        await until(lambda: len(s.requests) == 1)
        await client.send(reset(1))
        await until(lambda: len(seen) == 1)
        assert type(seen[0]).__name__ == "ClientDisconnected"


async def test_a_body_that_breaks_off_resets_its_stream_and_no_other() -> None:
    async def half(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("no more")

        return Response(body()) if request.target == b"/half" else Response("whole")

    async with served(half) as s, connected(s.port) as client:
        await client.send(get(1, b"/half"), get(3))
        first, second = await client.exchange(1), await client.exchange(3)
        assert (first.reset, first.ended) == (INTERNAL, False)
        assert second.body == b"whole"
        assert any(isinstance(event, ErrorReported) for event in s.recorder.events)


async def test_a_body_that_misses_its_length_resets_its_stream() -> None:
    async def short(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"abc"

        return Response(body(), headers={"Content-Length": "2" if request.target == b"/long" else "9"})

    async with served(short) as s, connected(s.port) as client:
        await client.send(get(1), get(3, b"/long"))
        for stream in (1, 3):
            assert (await client.exchange(stream)).reset == INTERNAL


async def test_an_answer_before_the_end_of_its_request_stops_the_upload() -> None:
    async def early(request: Request) -> Response:
        return Response("enough")

    async with served(early) as s, connected(s.port) as client:
        await client.send(post(1), data(1, b"abc", 0))
        exchange = await client.exchange()
        assert (exchange.status, exchange.body, exchange.ended) == (200, b"enough", True)
        while exchange.reset is None:
            assert await client.frame() is not None
        assert exchange.reset == NO_ERROR
        await client.send(data(1, b"late"), post(3), data(3, b"next"))
        assert (await client.exchange(3)).status == 200


async def test_errors_are_problem_details() -> None:
    async def fail(request: Request) -> Response:
        raise NoInstanceAvailable("none left", retry_after=3)

    async with served(fail) as s, connected(s.port) as client:
        await client.send(get())
        exchange = await client.exchange()
    assert (exchange.status, exchange.get(b"retry-after")) == (503, b"3")
    assert exchange.get(b"content-type") == b"application/problem+json"


async def test_what_is_well_formed_and_refused_is_answered_as_in_http_1() -> None:
    many = tuple((b"x-%d" % n, b"1") for n in range(200))
    cases = {
        1: (get(1, b"/", *many), 431),
        3: (get(3, b"/", (b"x", b"y" * 70_000)), 431),
        5: (headers(5, ((b":method", b"BREW"), *GET[1:])), 501),
        7: (headers(7, ((b":method", b"CONNECT"), (b":authority", b"a:1"))), 501),
        9: (get(9, b"/", (b"expect", b"tea")), 417),
        11: (post(11, (b"content-length", b"2000")), 413),
        13: (get(13, b"/", (b"content_length", b"1")), 400),
    }
    async with served(path, limits=Limits(body=1000)) as s, connected(s.port) as client:
        for stream, (sent, status) in cases.items():
            if len(sent) > 16_384:
                first, rest = sent[: 9 + 16_000], sent[9 + 16_000 :]
                sent = (16_000).to_bytes(3, "big") + b"\1\1" + first[5:] + _continued(stream, rest)
            await client.send(sent)
            exchange = await client.exchange(stream)
            assert (exchange.status, exchange.get(b"content-type")) == (status, b"application/problem+json")
        assert s.requests == []
        await client.send(get(15))
        assert (await client.exchange(15)).status == 200


def _continued(stream: int, rest: bytes) -> bytes:
    pieces = [rest[at : at + 16_000] for at in range(0, len(rest), 16_000)]
    return b"".join(
        frame(CONTINUATION, END_HEADERS if at == len(pieces) - 1 else 0, stream, piece)
        for at, piece in enumerate(pieces)
    )


async def test_a_body_over_the_limit_is_refused_where_it_goes_over() -> None:
    async with served(echo, limits=Limits(body=1000)) as s, connected(s.port) as client:
        await client.send(post(1), data(1, bytes(900), 0), data(1, bytes(900), 0))
        assert (await client.exchange()).status == 413


async def test_a_response_to_a_reset_stream_is_dropped_and_its_error_reported() -> None:
    go = asyncio.Event()

    async def fail(request: Request) -> Response:
        await go.wait()
        raise RuntimeError("late")

    async with served(fail) as s, connected(s.port) as client:
        await client.send(get(1))
        await until(lambda: len(s.requests) == 1)
        await client.send(reset(1, CANCEL))
        assert await client.alive()
        assert s.server.in_flight == 1
        go.set()
        await until(lambda: s.server.in_flight == 0)
        assert any(isinstance(event, ErrorReported) for event in s.recorder.events)
