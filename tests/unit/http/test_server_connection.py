"""One connection: requests in, answers out, in order, within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moorings.clock import ManualClock
from moorings.errors import NoInstanceAvailable
from moorings.http import Headers, Request, Response
from moorings.observer import ErrorReported
from tests.unit.http.wire import dialled, get, served, until


async def echo(request: Request) -> Response:
    return Response(await request.bytes())


async def path(request: Request) -> Response:
    return Response(request.target)


async def test_connection_is_kept_alive_and_answers_one_request_after_the_other() -> None:
    async with served(path) as s, dialled(s.port) as client:
        for n in range(3):
            assert (await client.ask(get(f"/{n}"))).body == f"/{n}".encode()
        assert len(s.server.connections) == 1


async def test_pipelined_requests_are_answered_in_order_even_when_later_ones_are_faster() -> None:
    async def slow_first(request: Request) -> Response:
        for _ in range(0 if request.target != b"/0" else 20):
            await asyncio.sleep(0)
        return Response(request.target)

    async with served(slow_first) as s, dialled(s.port) as client:
        await client.send(b"".join(get(f"/{n}") for n in range(50)))
        assert [(await client.answer()).body for _ in range(50)] == [f"/{n}".encode() for n in range(50)]


async def test_handlers_of_one_connection_never_run_at_the_same_time() -> None:
    running = 0

    async def alone(request: Request) -> Response:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        return Response("ok")

    async with served(alone) as s, dialled(s.port) as client:
        await client.send(get() * 20)
        for _ in range(20):
            assert (await client.answer()).status == 200


async def test_a_flood_of_pipelined_requests_is_not_buffered_without_bound() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return Response("ok")

    async with served(wait) as s, dialled(s.port) as client:
        await client.send(get())
        await until(lambda: len(s.requests) == 1)
        client.writer.write(get() * 200_000)
        connection = next(iter(s.connections))
        await until(lambda: bool(connection._pause))
        assert sum(map(len, connection._held)) <= 64 * 1024 + 256 * 1024
        release.set()
        for _ in range(1000):
            assert (await client.answer()).status == 200
        client.reset()
        await until(lambda: not s.server.connections)


async def test_each_request_runs_in_a_task_of_its_own() -> None:
    tasks = []

    async def record(request: Request) -> Response:
        tasks.append(asyncio.current_task())
        return Response("ok")

    async with served(record) as s, dialled(s.port) as client:
        await client.ask(get())
        await client.ask(get())
    assert len(set(tasks)) == 2
    assert None not in tasks


async def test_fixed_and_chunked_bodies_reach_the_handler() -> None:
    async with served(echo) as s, dialled(s.port) as client:
        answer = await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert answer.body == b"hello"
        chunked = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
        )
        assert (await client.ask(chunked)).body == b"hello!"
        assert (await client.ask(get())).status == 200


async def test_trailers_of_a_request_are_there_once_the_body_is_read() -> None:
    async def read(request: Request) -> Response:
        before = request.trailers
        body = await request.bytes()
        trailers = request.trailers or Headers()
        return Response(body + str(before).encode() + trailers["Checksum"].encode())

    async with served(read) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await until(lambda: len(s.requests) == 1)
        await client.send(b"0\r\nChecksum: x1\r\nContent-Length: 99\r\n\r\n")
        assert (await client.answer()).body == b"abNonex1"


async def test_a_body_larger_than_the_buffers_is_streamed() -> None:
    async def count(request: Request) -> Response:
        assert request.body is not None
        total = 0
        async for chunk in request.body:
            total += len(chunk)
        return Response(str(total))

    async with served(count) as s, dialled(s.port) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
        client.writer.write(b"x" * 8_000_000)
        assert (await client.answer()).body == b"8000000"


async def test_a_handler_that_does_not_read_stops_the_client() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return Response(str(len(await request.bytes())))

    async with served(wait) as s, dialled(s.port) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000)
        await until(lambda: bool(s.requests))
        connection = next(iter(s.connections))
        await until(lambda: bool(connection._pause))
        body = connection._body
        assert body is not None
        assert body._size <= 64 * 1024 + 256 * 1024
        release.set()
        assert (await client.answer()).body == b"30000000"


async def test_a_client_that_does_not_read_stops_the_body_made_in_python() -> None:
    made = 0

    async def generate() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(400):
            made += 1
            yield b"x" * 64 * 1024

    async def big(request: Request) -> Response:
        return Response(generate())

    async with served(big) as s, dialled(s.port) as client:
        await client.send(get())
        connection = None
        while connection is None or not connection._writer.paused:
            connection = next(iter(s.connections), None)
            await asyncio.sleep(0.001)
        seen = made
        await asyncio.sleep(0)
        assert made <= seen + 1
        assert made < 300
        answer = await client.answer()
        assert len(answer.body) == 64 * 1024 * 400


async def test_unread_small_body_is_dropped_and_the_connection_kept() -> None:
    async with served(path) as s, dialled(s.port) as client:
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        assert (await client.answer()).body == b"/1"
        await client.send(b"x" * 200_000 + get("/2"))
        assert (await client.answer()).body == b"/2"


async def test_unread_chunked_body_is_dropped_up_to_a_bound() -> None:
    async with served(path) as s, dialled(s.port) as client:
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await client.answer()).body == b"/1"
        client.writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        client.writer.write(b"fffffff\r\n" + b"x" * 1_000_000)
        assert await client.rest() == b""


async def test_unread_large_body_ends_the_connection_after_the_answer() -> None:
    async with served(path) as s, dialled(s.port) as client:
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert await client.rest() == b""


async def test_continue_is_sent_when_the_handler_begins_to_read() -> None:
    begin = asyncio.Event()

    async def later(request: Request) -> Response:
        await begin.wait()
        return Response(await request.bytes())

    async with served(later) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: bool(s.requests))
        begin.set()
        assert (await client.head())[0] == 100
        assert (await client.ask(b"hello")).body == b"hello"


async def test_no_continue_is_sent_when_the_handler_answers_without_reading() -> None:
    async with served(path) as s, dialled(s.port) as client:
        await client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        raw = await client.rest()
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in raw


async def test_no_continue_is_sent_when_the_body_is_already_there() -> None:
    async with served(echo) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.answer()).status == 200


async def test_head_is_answered_without_body_but_with_its_length() -> None:
    async def hello(request: Request) -> Response:
        return Response("hello")

    async with served(hello) as s, dialled(s.port) as client:
        answer = await client.ask(get(method="HEAD"), method="HEAD")
        assert answer.get("content-length") == "5"
        assert (await client.ask(get())).body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_body_end_at_their_head(status: int) -> None:
    async def empty(request: Request) -> Response:
        return Response(status=status)

    async with served(empty) as s, dialled(s.port) as client:
        first = await client.ask(get())
        assert (first.status, first.get("transfer-encoding"), first.get("content-length")) == (status, None, None)
        assert (await client.ask(get())).status == status


async def test_http_1_0_is_answered_without_chunks_and_closed() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def stream(request: Request) -> Response:
        return Response(parts())

    async with served(stream) as s, dialled(s.port) as client:
        await client.send(get(version="1.0"))
        raw = await client.rest()
    assert raw.endswith(b"\r\n\r\nonetwo")
    assert b"chunked" not in raw
    assert b"Connection: close" in raw


async def test_http_1_0_is_kept_alive_if_it_asks() -> None:
    async with served(path) as s, dialled(s.port) as client:
        for n in range(2):
            answer = await client.ask(get(f"/{n}", "Connection: keep-alive\r\n", version="1.0"))
            assert (answer.body, answer.get("connection")) == (f"/{n}".encode(), "keep-alive")
        await client.send(get("/3", version="1.0"))
        assert (await client.rest()).endswith(b"/3")


async def test_absolute_targets_and_the_asterisk_are_understood() -> None:
    async def url(request: Request) -> Response:
        return Response(str(request.url))

    async with served(url) as s, dialled(s.port) as client:
        request = b"GET http://example.test:81/a?b=%20c HTTP/1.1\r\nHost: example.test:81\r\n\r\n"
        assert (await client.ask(request)).body == b"http://example.test:81/a?b=%20c"
        assert (await client.ask(get("*", method="OPTIONS"))).status == 200
        assert (await client.ask(b"GET HTTP://a?b HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"http://a/?b"


async def test_one_empty_line_before_a_request_is_skipped() -> None:
    async with served(path) as s, dialled(s.port) as client:
        assert (await client.ask(b"\r\n" + get("/1"))).body == b"/1"
        await client.send(b"\r\n")
        assert (await client.ask(get("/2"))).body == b"/2"


async def test_upgrade_to_h2c_is_ignored() -> None:
    async with served(path) as s, dialled(s.port) as client:
        extra = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        assert (await client.ask(get("/1", extra))).body == b"/1"


async def test_answers_made_in_python_have_a_date() -> None:
    async with served(path, clock=ManualClock(start=784111777.0)) as s, dialled(s.port) as client:
        assert (await client.ask(get())).get("date") == "Sun, 06 Nov 1994 08:49:37 GMT"


async def test_error_of_the_handler_is_a_problem_and_the_connection_goes_on() -> None:
    async def fail(request: Request) -> Response:
        raise NoInstanceAvailable("secret detail", retry_after=7)

    async with served(fail) as s, dialled(s.port) as client:
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.status, answer.get("retry-after")) == (503, "7")
            assert json.loads(answer.body)["code"] == "no_instance_available"
            assert b"secret" not in answer.body


async def test_handler_that_returns_no_response_is_a_worker_error() -> None:
    async def wrong(request: Request) -> Response:
        return "text"  # type: ignore[return-value]  # what the test is about

    async with served(wrong) as s, dialled(s.port) as client:
        answer = await client.ask(get())
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "worker_error")


@pytest.mark.parametrize("status", ["200", None, 99999, 12])
async def test_response_with_what_is_no_status_is_an_error_and_the_connection_goes_on(status: Any) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"

    async def wrong(request: Request) -> Response:
        response = Response("text" if request.url.path == "/text" else parts())
        response.status = status
        return response

    async with served(wrong) as s, dialled(s.port) as client:
        for target in ("/text", "/stream", "/text"):
            answer = await client.ask(get(target))
            assert (answer.status, json.loads(answer.body)["code"]) == (500, "worker_error")
        await until(lambda: s.server.in_flight == 0)


async def test_response_that_cannot_be_sent_ends_the_connection_and_is_told() -> None:
    async def wrong(request: Request) -> Response:
        response = Response(status=204)
        response._headers = "broken"  # type: ignore[assignment]  # nothing that anybody would do
        return response

    async with served(wrong) as s, dialled(s.port) as client:
        await client.send(get())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.answer()
        await until(lambda: not s.server.connections)
        assert [event.where for event in s.recorder.events if isinstance(event, ErrorReported)] == ["a response"]


async def test_response_whose_body_was_read_cannot_be_sent() -> None:
    async def used(request: Request) -> Response:
        response = Response("text")
        await response.text()
        return response

    async with served(used) as s, dialled(s.port) as client:
        answer = await client.ask(get())
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "body_used")


async def test_body_that_raises_breaks_the_connection_off() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("broken")

    async def stream(request: Request) -> Response:
        return Response(parts())

    async with served(stream) as s, dialled(s.port) as client:
        await client.send(get())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert [type(event) for event in s.recorder.events] == [ErrorReported]


@pytest.mark.parametrize("length", ["2", "4"])
async def test_body_that_misses_its_content_length_breaks_the_connection_off(length: str) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"

    async def stream(request: Request) -> Response:
        return Response(parts(), headers={"Content-Length": length})

    async with served(stream) as s, dialled(s.port) as client:
        await client.send(get())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()


async def test_short_close_delimited_body_is_a_reset_not_an_end() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("broken")

    async def stream(request: Request) -> Response:
        return Response(parts())

    async with served(stream) as s, dialled(s.port) as client:
        await client.send(get(version="1.0"))
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_request_headers_are_read_only_and_response_headers_are_not() -> None:
    async def change(request: Request) -> Response:
        with pytest.raises(TypeError):
            request.headers["A"] = "b"
        response = Response("ok")
        response.headers["A"] = "b"
        copy = Request(request, headers={"C": "d"})
        assert (copy.url, copy.client, copy.signal) == (request.url, request.client, request.signal)
        assert copy.headers == Headers({"C": "d"})
        return response

    async with served(change) as s, dialled(s.port) as client:
        assert (await client.ask(get())).get("a") == "b"
