"""Bodies pass both ways, streamed, with bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorings.clock import SystemClock
from moorings.errors import BodyUsed
from moorings.http import Request
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import dialled, get, request_head, until, upstream
from tests.unit.proxy.proxied import OK, answering, proxied


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
        front = next(iter(p.front.connections))
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
