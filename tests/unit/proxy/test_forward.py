"""What reaches the container, what comes back, and how an exchange ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from moorings.clock import ManualClock, SystemClock
from moorings.errors import BodyUsed, ClientDisconnected, ConnectFailed, UpstreamError
from moorings.http import Request, Response
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import Script, Served, Upstream, dialled, get, request_head, served, until, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Proxied:
    """A server that forwards everything to a scripted upstream."""

    front: Served
    behind: Upstream
    pool: UpstreamPool
    ends: list[int] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def proxied(script: Script, *, trusted: tuple[str, ...] = ()) -> AsyncIterator[Proxied]:
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        ends: list[int] = []

        async def handler(request: Request) -> Response:
            return await forward(request, pool, on_end=lambda: ends.append(1))

        async with served(handler, trusted=trusted) as front:
            yield Proxied(front, behind, pool, ends)
        pool.abort()


def answering(data: bytes, heads: list[bytes] | None = None) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            if heads is not None:
                heads.append(head)
            writer.write(data)

    return script


async def seen_head(request: bytes, *, trusted: tuple[str, ...] = ()) -> list[str]:
    """The head that reaches the upstream, as lines."""
    heads: list[bytes] = []
    async with proxied(answering(OK, heads), trusted=trusted) as p, dialled(p.front.port) as client:
        assert (await client.ask(request)).status == 200
    return heads[0].decode("latin-1").split("\r\n")[:-2]


# --- heads


async def test_request_head_goes_on_as_it_came_with_forwarding_fields_added() -> None:
    lines = await seen_head(get("/a?b=%20c", "X-Odd-CASE:  two  \r\nAccept: */*\r\naccept: x\r\n"))
    assert lines == [
        "GET /a?b=%20c HTTP/1.1",
        "Host: example.test",
        "X-Odd-CASE:  two  ",
        "Accept: */*",
        "accept: x",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: example.test",
    ]


async def test_hop_by_hop_fields_stay_on_their_connection() -> None:
    extra = (
        "Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n"
        "X-Mine: 1\r\nUpgrade: h2c\r\nX-Mine-Too: 2\r\n"
    )
    lines = await seen_head(get("/", extra))
    assert lines[1:3] == ["Host: example.test", "X-Mine-Too: 2"]
    assert len(lines) == 6


async def test_te_trailers_is_sent_on() -> None:
    lines = await seen_head(get("/", "TE: trailers, deflate\r\nConnection: TE\r\n"))
    assert "TE: trailers" in lines
    assert "Connection: TE" in lines


async def test_a_client_cannot_strip_essential_fields_through_connection() -> None:
    extra = "Connection: close, Host, X-Forwarded-For, Cookie, Content-Length, Authorization\r\n"
    extra += "Cookie: a\r\nAuthorization: b\r\n"
    lines = await seen_head(get("/", extra))
    assert lines[1:4] == ["Host: example.test", "Cookie: a", "Authorization: b"]
    assert "X-Forwarded-For: 127.0.0.1" in lines


async def test_forwarding_fields_of_an_untrusted_client_are_replaced() -> None:
    extra = (
        "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    )
    lines = await seen_head(get("/", extra))
    assert not [line for line in lines if "6.6.6.6" in line or "evil" in line or "https" in line]
    assert "X-Forwarded-For: 127.0.0.1" in lines


async def test_forwarding_fields_of_a_trusted_proxy_are_kept_and_appended_to() -> None:
    extra = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: site.test\r\n"
    lines = await seen_head(get("/", extra), trusted=("127.0.0.0/8",))
    assert lines[2:] == [
        "X-Forwarded-For: 6.6.6.6, 127.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: site.test",
    ]


async def test_absolute_target_is_sent_on_in_origin_form() -> None:
    lines = await seen_head(b"GET http://example.test/a?b HTTP/1.1\r\nHost: example.test\r\n\r\n")
    assert lines[:2] == ["GET /a?b HTTP/1.1", "Host: example.test"]


async def test_http_1_0_request_without_host_gets_one() -> None:
    lines = await seen_head(b"GET / HTTP/1.0\r\n\r\n")
    assert lines[0] == "GET / HTTP/1.1"
    assert lines[1].startswith("Host: 127.0.0.1:")


async def test_headers_replaced_by_the_worker_are_sent_instead() -> None:
    heads: list[bytes] = []
    async with upstream(answering(OK, heads)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            changed = Request(request, headers={"Host": "other", "X-A": "b", "X-Forwarded-For": "6.6.6.6"})
            return await forward(changed, pool)

        async with served(handler) as s, dialled(s.port) as client:
            assert (await client.ask(get())).status == 200
        pool.abort()
    assert heads[0].decode().split("\r\n")[:-2] == [
        "GET / HTTP/1.1",
        "Host: other",
        "X-A: b",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: other",
    ]


async def test_response_head_comes_back_as_it_was_without_hop_by_hop_fields() -> None:
    data = (
        b"HTTP/1.1 299 Very Odd\r\nServer: tiny\r\nDate: never\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
        b"Connection: X-Mine, keep-alive\r\n"
        b"X-Mine: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok"
    )
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        answer = await client.ask(get())
    assert answer.status == 299
    expected = [
        ("Server", "tiny"),
        ("Date", "never"),
        ("Set-Cookie", "a"),
        ("set-cookie", "b"),
        ("Content-Length", "2"),
    ]
    assert answer.headers == expected


async def test_response_headers_can_be_changed_by_the_worker() -> None:
    async with upstream(answering(b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok")) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            response = await forward(request, pool)
            assert (response.status, response.ok, response.headers["a"]) == (200, True, "b")
            response.headers["A"] = "c"
            del response.headers["content-length"]
            response.headers.add("Set-Cookie", "x=y")
            return response

        async with served(handler) as s, dialled(s.port) as client:
            answer = await client.ask(get())
        pool.abort()
    assert (answer.get("a"), answer.get("set-cookie"), answer.body) == ("c", "x=y", b"ok")
    assert answer.get("content-length") == "2"


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"]
)
async def test_bodyless_statuses_keep_the_connection(data: bytes) -> None:
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        for _ in range(3):
            answer = await client.ask(get())
            assert answer.status == int(data[9:12])
        assert answer.get("content-length") == (None if b"204" in data else "9")
        assert p.behind.connections == 1


async def test_head_keeps_the_length_that_get_would_have() -> None:
    async with (
        proxied(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")) as p,
        dialled(p.front.port) as client,
    ):
        for _ in range(3):
            answer = await client.ask(get(method="HEAD"), method="HEAD")
            assert answer.get("content-length") == "12345"
        assert p.behind.connections == 1


# --- bodies


async def test_upload_and_download_are_streamed_both_ways_at_once() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
            data = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n" % size + data[:-2].upper() + b"\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"0\r\n\r\n")

    async with proxied(shout) as p, dialled(p.front.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        for word in (b"one", b"two"):
            await client.send(b"3\r\n" + word + b"\r\n")
            assert await client.reader.readexactly(8) == b"3\r\n" + word.upper() + b"\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"
        await until(lambda: p.ends == [1])


async def test_chunked_body_and_trailers_pass_both_ways() -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_head(reader))
        seen.append(await reader.readuntil(b"0\r\n"))
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n2\r\nok\r\n0\r\nSum: 7\r\n\r\n"
        )

    async with proxied(script) as p, dialled(p.front.port) as client:
        answer = await client.ask(
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
        )
    assert b"Transfer-Encoding: chunked\r\n" in seen[0]
    assert seen[1:] == [b"3\r\nabc\r\n0\r\n", b"T: 1\r\n\r\n"]
    assert (answer.body, answer.trailers, answer.get("trailer")) == (b"ok", b"Sum: 7\r\n", "Sum")


async def test_large_bodies_pass_with_bounded_memory_however_slow_the_reader() -> None:
    size = 30_000_000
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await go.wait()
        left = size
        while left:
            data = await reader.read(65536)
            assert data, f"{left} bytes are missing"
            left -= len(data)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 10_000):
            writer.write(b"y" * 10_000)
            await writer.drain()

    async with proxied(slow) as p, dialled(p.front.port) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await until(lambda: any(c._write_paused for c in p.pool._connections))
        await until(lambda: any(c._pause for c in p.front.server.connections))
        connection = next(iter(p.pool._connections))
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 1_000_000
        go.set()
        status, _ = await client.head()
        assert status == 200
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport as well
        front = next(iter(p.front.server.connections))
        await until(lambda: front._writer.paused)
        assert front.transport is not None
        assert front.transport.get_write_buffer_size() < 1_000_000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a ReadTransport as well
        left = size
        while left:
            data = await client.reader.read(1 << 20)
            assert data, f"{left} bytes are missing"
            left -= len(data)
        await until(lambda: p.ends == [1])


async def test_close_delimited_body_becomes_chunks() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end")

    async with proxied(script) as p, dialled(p.front.port) as client:
        answer = await client.ask(get())
        assert (answer.get("transfer-encoding"), answer.body) == ("chunked", b"until the end")
        await client.send(get(version="1.0"))
        raw = await client.rest()
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
        assert raw.endswith(b"\r\n\r\nuntil the end")


async def test_chunks_are_unwrapped_for_an_http_1_0_client() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        await client.send(get(version="1.0"))
        raw = await client.rest()
    assert b"chunked" not in raw
    assert raw.endswith(b"\r\n\r\nok")


async def test_continue_is_answered_here_and_the_expectation_dropped() -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await request_head(reader))
        await reader.readexactly(5)
        writer.write(OK)

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await client.head())[0] == 100
        assert (await client.ask(b"hello")).body == b"ok"
    assert b"xpect" not in heads[0]


async def test_interim_responses_are_not_taken_for_the_answer() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).body == b"ok"
        assert (await client.ask(get())).body == b"ok"


async def test_early_answer_ends_the_upload_and_the_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
        client.writer.write(b"x" * 2_000_000)
        answer = await client.answer()
        assert (answer.status, answer.get("connection"), answer.body) == (413, "close", b"no")
        assert await client.rest() == b""
        await until(lambda: p.behind.closed == 1)
        assert p.ends == [1]


async def test_body_made_by_the_worker_is_uploaded_in_chunks_or_by_its_length() -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            length = 7 if b"Length: 7" in head else 6
            seen.append(await (reader.readuntil(b"0\r\n\r\n") if b"chunked" in head else reader.readexactly(length)))
            writer.write(OK)

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        assert (await forward(Request("http://a/", method="POST", body=parts()), pool)).status == 200
        sized = Request("http://a/", method="POST", body=parts(), headers={"Content-Length": "6"})
        assert (await forward(sized, pool)).status == 200
        assert (await forward(Request("http://a/", method="POST", json={"a": 1}, headers={}), pool)).status == 200
        pool.abort()
    assert seen == [b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", b"onetwo", b'{"a":1}']


async def test_body_that_raises_fails_the_exchange_with_its_error() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("broken")

    ends: list[int] = []
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        with pytest.raises(RuntimeError, match="broken"):
            await forward(Request("http://a/", method="POST", body=parts()), pool, on_end=lambda: ends.append(1))
        await until(lambda: pool.open == 0)
    assert ends == [1]


async def test_request_whose_body_was_read_cannot_be_forwarded() -> None:
    request = Request("http://a/", method="POST", body="text")
    await request.text()
    pool = UpstreamPool("127.0.0.1", 1, clock=SystemClock())
    ends: list[int] = []
    with pytest.raises(BodyUsed):
        await forward(request, pool, on_end=lambda: ends.append(1))
    assert ends == [1]


# --- pool and retries


async def test_connections_are_reused_and_idle_ones_closed_with_the_pool() -> None:
    async with proxied(answering(OK)) as p, dialled(p.front.port) as client:
        for _ in range(10):
            await client.ask(get())
        assert (p.behind.connections, p.pool.idle) == (1, 1)
        p.pool.close()
        await until(lambda: p.behind.closed == 1)
        assert (await client.ask(get())).status == 502
        assert p.ends == [1] * 11


async def once_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers, and drops the next request without an answer."""
    await request_head(reader)
    writer.write(OK)
    await request_head(reader)


async def test_safe_request_on_a_dead_pooled_connection_is_sent_again_on_a_new_one() -> None:
    async with proxied(once_then_close) as p, dialled(p.front.port) as client:
        assert [(await client.ask(get())).status for _ in range(4)] == [200] * 4
        assert p.behind.connections == 4
        assert p.ends == [1] * 4


async def test_unsafe_request_on_a_dead_pooled_connection_is_not_sent_again() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with proxied(once_then_close) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 200
        assert (await client.ask(post)).status == 502
        assert p.behind.connections == 1
        assert p.ends == [1, 1]


async def test_connection_that_the_upstream_closed_while_idle_is_not_used() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)

    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with proxied(once) as p, dialled(p.front.port) as client:
        for _ in range(3):
            assert (await client.ask(post)).status == 200
            await until(lambda: p.pool.open == 0)


async def test_unsafe_request_never_rides_on_a_connection_that_has_been_idle_for_long() -> None:
    clock = ManualClock()
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=clock, idle_timeout=30)

        async def send(method: str) -> int:
            assert (await forward(Request("http://a/", method=method), pool)).status == 200
            return behind.connections

        assert [await send("POST"), await send("POST")] == [1, 1]
        await clock.advance(2)
        assert await send("GET") == 1
        await clock.advance(2)
        assert await send("POST") == 2
        await clock.advance(32)
        await until(lambda: pool.open == 0)
        assert clock.pending == 0


async def test_new_connection_that_dies_is_not_tried_twice() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)

    async with proxied(never) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 502
        assert p.behind.connections == 1


async def test_refused_connection_is_connect_failed() -> None:
    async with upstream(answering(OK)) as behind:
        port = behind.port
    ends: list[int] = []
    pool = UpstreamPool("127.0.0.1", port, clock=SystemClock())
    with pytest.raises(ConnectFailed):
        await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
    assert ends == [1]


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    async with proxied(answering(OK + OK)) as p, dialled(p.front.port) as client:
        for n in range(3):
            assert (await client.ask(get())).body == b"ok"
            assert p.behind.connections == n + 1


async def test_bytes_on_an_idle_connection_close_it() -> None:
    push = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(OK)
        await push.wait()
        writer.write(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with proxied(script) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 200
        push.set()
        await until(lambda: p.pool.open == 0)
        assert (await client.ask(get())).status == 200


# --- malformed answers

MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "http 2": b"HTTP/2.0 200 OK\r\n\r\n",
    "length and coding": b"HTTP/1.1 200\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "bare lf": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok",
    "nul": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "huge head": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_answer_is_a_502_and_its_connection_closed(name: str) -> None:
    async with proxied(answering(MALFORMED[name])) as p, dialled(p.front.port) as client:
        assert (await client.ask(get())).status == 502
        await until(lambda: p.pool.open == 0)
        assert p.ends == [1]


async def test_malformed_chunk_in_an_answer_aborts_the_client() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
    async with proxied(answering(data)) as p, dialled(p.front.port) as client:
        await client.send(get())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        assert p.ends == [1]


# --- endings

SHORT = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
}


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_upstream_that_dies_in_its_answer_aborts_the_client(name: str, version: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(SHORT[name])

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(get(version=version))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await until(lambda: p.ends == [1])


async def test_upstream_that_resets_a_close_delimited_answer_aborts_the_client() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await writer.drain()
        await asyncio.sleep(0.02)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with proxied(script) as p, dialled(p.front.port) as client:
        await client.send(get())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await until(lambda: p.ends == [1])


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    await reader.read()


async def begin_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await reader.read()


@pytest.mark.parametrize("script", [hang, begin_and_hang])
async def test_client_that_goes_away_ends_the_exchange_and_its_connection(script: Script) -> None:
    async with proxied(script) as p:
        async with dialled(p.front.port) as client:
            await client.send(get())
            await until(lambda: p.behind.connections == 1)
            if script is begin_and_hang:
                await client.head()
        await until(lambda: p.behind.closed == 1)
        assert p.ends == [1]
        assert p.pool.open == 0
        assert p.front.recorder.events == []


async def test_client_that_goes_away_at_any_turn_of_connecting_ends_the_exchange() -> None:
    async with upstream(hang) as behind:
        for turns in range(12):
            ends: list[int] = []
            pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
            request = Request("http://a/")
            task = asyncio.ensure_future(forward(request, pool, on_end=partial(ends.append, 1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            request.signal.fire()
            with pytest.raises(ClientDisconnected):
                await asyncio.wait_for(task, 5)
            assert ends == [1]
            pool.close()
            await until(partial(lambda pool: pool.open == 0, pool))


async def test_client_that_goes_away_in_its_upload_ends_the_exchange() -> None:
    async with proxied(hang) as p:
        async with dialled(p.front.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            await until(lambda: p.behind.connections == 1)
        await until(lambda: p.behind.closed == 1)
        assert p.ends == [1]


async def test_request_of_a_client_that_has_gone_is_not_sent() -> None:
    request = Request("http://a/")
    request.signal.fire()
    ends: list[int] = []
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        with pytest.raises(ClientDisconnected):
            await forward(request, pool, on_end=lambda: ends.append(1))
        assert (behind.connections, ends) == (0, [1])


async def test_cancelled_task_ends_the_exchange() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: behind.closed == 1)
    assert ends == [1]


async def test_task_cancelled_while_connecting_ends_the_exchange_and_leaves_no_connection() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        for turns in range(1, 9):
            task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        pool.close()
        await until(lambda: pool.open == 0)
    assert ends == [1] * 8


async def test_body_dropped_unread_ends_the_exchange_when_it_is_collected() -> None:
    ends: list[int] = []
    async with upstream(begin_and_hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        response: Response | None = await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
        assert (response is not None, ends) == (True, [])
        response = None
        await asyncio.sleep(0)  # the loop's own handle lets go of the result
        gc.collect()
        assert ends == [1]
        await until(lambda: behind.closed == 1)


async def test_answer_read_in_python_ends_the_exchange_and_frees_its_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await request_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")

    ends: list[int] = []
    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        for n in range(2):
            response = await forward(Request("http://a/"), pool, on_end=lambda: ends.append(1))
            assert await response.text() == "ok"
            assert ends == [1] * (n + 1)
        assert (behind.connections, pool.idle) == (1, 1)
        pool.abort()


async def test_abort_of_the_pool_fails_what_is_in_progress() -> None:
    ends: list[int] = []
    async with upstream(hang) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool, on_end=lambda: ends.append(1)))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        pool.abort()
        with pytest.raises(UpstreamError):
            await task
        assert ends == [1]


async def test_close_of_the_pool_lets_what_is_in_progress_end() -> None:
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await go.wait()
        writer.write(OK)
        await reader.read()

    async with upstream(script) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool))
        await until(lambda: any(c._exchange is not None for c in pool._connections))
        pool.close()
        go.set()
        assert (await task).status == 200
        await until(lambda: pool.open == 0)


async def test_close_of_the_pool_lets_a_connection_being_made_carry_its_request() -> None:
    async with upstream(answering(OK)) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())
        task = asyncio.ensure_future(forward(Request("http://a/"), pool))
        for _ in range(2):
            await asyncio.sleep(0)
        pool.close()
        assert (await task).status == 200
        await until(lambda: pool.open == 0)


async def test_worker_may_answer_with_the_body_of_the_container_and_a_head_of_its_own() -> None:
    async with upstream(begin_and_end) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            inner = await forward(request, pool)
            return Response(inner.body, status=201, headers={"A": "b"})

        async with served(handler) as s, dialled(s.port) as client:
            answer = await client.ask(get())
        pool.abort()
    assert (answer.status, answer.get("a"), answer.body) == (201, "b", b"halfmore!!")


async def begin_and_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    await asyncio.sleep(0.01)
    writer.write(b"more!!")
    await reader.read()


async def test_requests_of_many_clients_never_cross() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await request_head(reader)
            path = head.split(b" ")[1]
            await asyncio.sleep(0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    async def run(port: int, client_id: int) -> None:
        async with dialled(port) as client:
            for n in range(30):
                assert (await client.ask(get(f"/{client_id}/{n}"))).body == f"/{client_id}/{n}".encode()

    async with proxied(script) as p:
        await asyncio.gather(*(run(p.front.port, n) for n in range(30)))
        assert p.ends == [1] * 900
        assert p.front.server.in_flight == 0
