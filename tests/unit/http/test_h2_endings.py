"""How an HTTP/2 connection ends: in order, in time, or because its client is a burden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorings.clock import ManualClock
from moorings.http import Limits, Request, Response
from moorings.http.h2_connection import H2ServerConnection
from tests.support.http2 import (
    ACK,
    CALM,
    CANCEL,
    CONTINUATION,
    DATA,
    GET,
    HEADERS,
    INITIAL_WINDOW,
    NO_ERROR,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL,
    SETTINGS,
    Client,
    Exchange,
    block,
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

EVERY_STREAM = 2**31 - 1


async def path(request: Request) -> Response:
    return Response(request.target)


async def forever(request: Request) -> Response:
    await asyncio.get_running_loop().create_future()
    return Response()


# --- draining


async def test_drain_tells_the_client_twice_and_lets_its_streams_end() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        if request.target == b"/wait":
            await release.wait()
        return Response("ok")

    async with served(wait) as s, connected(s.port) as client:
        await client.send(get(1, b"/wait"))
        await until(lambda: len(s.requests) == 1)
        drain = asyncio.ensure_future(s.server.drain(30))
        while not client.goaways:
            await client.frame()
        assert (client.goaways[0].code, client.goaways[0].last_stream) == (NO_ERROR, EVERY_STREAM)
        await client.send(get(3))  # on its way before the client knew
        assert (await client.exchange(3)).body == b"ok"
        ping = next(got for got in client.frames if got.kind == PING and not got.flags & ACK)
        await client.send(frame(PING, ACK, 0, ping.payload))
        while len(client.goaways) < 2:
            await client.frame()
        assert (client.goaways[1].code, client.goaways[1].last_stream) == (NO_ERROR, 3)
        await client.send(get(5))
        assert (await client.exchange(5)).reset == 7
        assert not drain.done()
        release.set()
        assert (await client.exchange(1)).body == b"ok"
        await client.rest()
        client.writer.close()
        await drain
        assert len(s.requests) == 2


async def test_drain_closes_an_idle_connection_with_a_goaway() -> None:
    async with served(path) as s, connected(s.port) as client:
        await client.send(get())
        await client.exchange()
        await s.server.drain(30)
        await client.rest()
        assert [(goaway.code, goaway.last_stream) for goaway in client.goaways] == [(NO_ERROR, 1)]


async def test_close_ends_streams_that_did_not_end() -> None:
    async with served(forever) as s, connected(s.port) as client:
        await client.send(get(1), get(3))
        await until(lambda: len(s.requests) == 2)
        await s.server.close()
        assert s.server.in_flight == 0
        await client.rest()


async def test_streams_in_progress_end_after_the_clients_goaway() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return Response(b"x" * 100_000)

    async with served(wait) as s, connected(s.port) as client:
        await client.send(get(1), frame(7, payload=bytes(8)))
        await until(lambda: len(s.requests) == 1)
        release.set()
        assert len((await client.exchange()).body) == 100_000
        await client.rest()
        assert s.server.in_flight <= 1


# --- time


async def test_an_idle_connection_is_closed_in_time_whatever_pings_it_sends() -> None:
    clock = ManualClock()
    async with served(path, clock=clock, limits=Limits(idle_timeout=75)) as s, connected(s.port) as client:
        await client.send(get())
        assert (await client.exchange()).status == 200
        await clock.advance(74)
        assert await client.alive()
        assert client.goaways == []
        await clock.advance(2)
        await client.rest()
        assert [goaway.code for goaway in client.goaways] == [NO_ERROR]


async def test_a_connection_that_asks_nothing_is_closed_in_time() -> None:
    clock = ManualClock()
    async with served(path, clock=clock, limits=Limits(header_timeout=10)) as s, connected(s.port) as client:
        assert await client.alive()
        await clock.advance(11)
        await client.rest()
        assert client.ended
        assert [goaway.code for goaway in client.goaways] == [NO_ERROR]


async def test_a_field_block_that_never_ends_ends_the_connection() -> None:
    clock = ManualClock()
    async with served(forever, clock=clock, limits=Limits(header_timeout=10)) as s, connected(s.port) as client:
        await client.send(get(1), frame(HEADERS, 1, 3, block(GET)[:5]))
        await until(lambda: len(s.requests) == 1)
        [connection] = s.server.connections
        assert isinstance(connection, H2ServerConnection)
        await until(lambda: connection.protocol.in_field_block)
        await clock.advance(11)
        await client.rest()
        assert [goaway.code for goaway in client.goaways] == [CALM]


async def test_a_client_that_never_opens_its_window_loses_its_stream_and_no_other() -> None:
    clock = ManualClock()
    closed = asyncio.Event()

    async def big(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(10_000)
            finally:
                closed.set()

        return Response(body()) if request.target == b"/big" else Response()

    limits = Limits(body_timeout=60)
    async with (
        served(big, clock=clock, limits=limits) as s,
        connected(s.port, (INITIAL_WINDOW, 0), greedy=False) as client,
    ):
        await client.send(get(1, b"/big"))
        assert (await client.head(1)).status == 200
        assert await client.alive()
        await clock.advance(59)
        assert not closed.is_set()
        await clock.advance(2)
        assert (await client.exchange(1)).reset == CANCEL
        await closed.wait()
        await client.send(get(3))
        assert (await client.exchange(3)).status == 200


async def test_a_client_that_opens_its_window_now_and_then_keeps_its_stream() -> None:
    clock = ManualClock()

    async def big(request: Request) -> Response:
        return Response(b"12345")

    limits = Limits(body_timeout=60)
    async with (
        served(big, clock=clock, limits=limits) as s,
        connected(s.port, (INITIAL_WINDOW, 0), greedy=False) as client,
    ):
        await client.send(get(1))
        for count in range(1, 6):
            assert await client.alive(b"%08d" % count)
            await clock.advance(50)
            await client.send(window_update(1, 1))
            while len(client.exchanges.setdefault(1, Exchange()).body) < count:
                assert await client.frame() is not None
        assert client.exchanges[1].body == b"12345"
        assert client.exchanges[1].ended


async def test_an_upload_that_stops_gets_408() -> None:
    clock = ManualClock()

    async def read(request: Request) -> Response:
        return Response(await request.bytes())

    async with served(read, clock=clock, limits=Limits(body_timeout=60)) as s, connected(s.port) as client:
        await client.send(post(1), data(1, b"abc", 0))
        assert await client.alive()
        await clock.advance(59)
        await client.send(data(1, b"abc", 0))
        assert await client.alive()
        await clock.advance(59)
        assert client.exchanges.get(1) is None
        await clock.advance(3)
        assert (await client.exchange()).status == 408


# --- floods: each ends with GOAWAY and ENHANCE_YOUR_CALM, long before it costs much

NOTHING = b"x" * 8
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "PING": (b"", frame(PING, payload=NOTHING)),
    "SETTINGS": (b"", settings()),
    "SETTINGS with values": (b"", settings(*((INITIAL_WINDOW, 1000 + n) for n in range(100)))),
    "PRIORITY": (b"", frame(PRIORITY, 0, 1, b"\0\0\0\3\1")),
    "WINDOW_UPDATE": (b"", window_update(0, 1)),
    "WINDOW_UPDATE of a stream": (get(1, b"/wait"), window_update(1, 1)),
    "empty DATA": (post(1, path=b"/wait"), data(1, b"", 0)),
    "DATA of one byte": (post(1, path=b"/wait"), data(1, b"x", 0)),
    "padding": (post(1, path=b"/wait"), frame(DATA, 8, 1, b"\x0a" + bytes(10))),
    "RST_STREAM of one stream": (get(1) + reset(1), reset(1)),
    "unknown frames": (b"", frame(0x42)),
    "DATA on a closed stream": (post(1) + reset(1), data(1, b"x", 0)),
}


async def _end(client: Client) -> int:
    """The code of the GOAWAY that ends the connection."""
    await client.rest()
    client.writer.close()
    assert len(client.goaways) == 1
    return client.goaways[0].code


async def _flood(client: Client, *parts: bytes) -> int:
    """Send until the server has had enough."""
    try:
        for part in parts:
            await client.send(part)
    except ConnectionError:
        pass
    return await _end(client)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_frames_that_do_nothing_ends_the_connection(name: str) -> None:
    async def handler(request: Request) -> Response:
        if request.target == b"/wait":
            await request.signal.wait()
        return Response("ok")

    first, flood = FLOODS[name]
    async with served(handler) as s, connected(s.port) as client:
        await client.send(first)
        assert await _flood(client, flood * 1000, flood * 1000, flood * 1500) == CALM
        await until(lambda: not s.server.connections)


async def test_what_a_busy_client_sends_is_no_flood() -> None:
    async def big(request: Request) -> Response:
        return Response(bytes(200_000))

    async with served(big) as s, connected(s.port) as client:
        for n in range(200):
            stream = 2 * n + 1
            await client.send(get(stream), window_update(0, 1), frame(PRIORITY, 0, stream, b"\0\0\0\0\1"))
            assert len((await client.exchange(stream)).body) == 200_000
            assert await client.alive(b"%08d" % n)
        assert client.goaways == []


async def test_a_stream_of_many_small_messages_is_no_flood() -> None:
    async def count(request: Request) -> Response:
        return Response(str(len(await request.bytes())))

    async with served(count) as s, connected(s.port) as client:
        await client.send(post(1))
        for _ in range(60):
            await client.send(data(1, b"\0\0\0\0\0", 0) * 100)
        await client.send(data(1))
        assert (await client.exchange(1)).body == b"%d" % (60 * 500)
        assert client.goaways == []


async def test_rapid_reset_ends_the_connection_and_runs_few_handlers() -> None:
    async with served(forever) as s, connected(s.port) as client:
        streams = range(1, 20_001, 2)
        code = await _flood(client, *(get(n) + reset(n) for n in streams))
        assert code == CALM
        assert len(s.requests) <= 200
        await until(lambda: not s.server.connections)


async def test_clients_that_give_up_on_calls_after_a_while_keep_their_connection() -> None:
    async def slow(request: Request) -> Response:
        await request.signal.wait()
        return Response()

    clock = ManualClock()
    async with served(slow, clock=clock) as s, connected(s.port) as client:
        for first in range(1, 2001, 200):
            calls = range(first, first + 200, 2)
            await client.send(*map(get, calls))
            await until(lambda n=first: len(s.requests) == n // 2 + 100)  # type: ignore[misc]
            await clock.advance(0.125)
            await client.send(*map(reset, calls))
            await until(lambda: s.server.in_flight == 0)
            assert await client.alive()
        assert client.goaways == []


async def test_handlers_that_outlive_their_resets_count_as_streams() -> None:
    async with served(forever, limits=Limits(streams=10)) as s, connected(s.port) as client:
        for n in range(1, 21, 2):
            await client.send(get(n), reset(n))
        assert await client.alive()
        assert len(s.requests) == 10
        await client.send(get(21))
        assert (await client.exchange(21)).reset == 7
        assert len(s.requests) == 10


async def test_streams_that_the_client_makes_the_server_reset_are_counted_as_well() -> None:
    async with served(forever) as s, connected(s.port) as client:
        code = await _flood(client, *(headers(n, ((b":bad", b"x"),)) for n in range(1, 4_001, 2)))
        assert code == CALM
        assert s.requests == []


async def test_a_flood_of_continuation_ends_the_connection() -> None:
    async with served(path) as s, connected(s.port) as client:
        first = frame(HEADERS, 1, 1, block(GET))
        parts = (frame(CONTINUATION, 0, 1, b"\0\1x\1y" * 10),) * 3000
        assert await _flood(client, first, *parts) in (PROTOCOL, CALM)
        assert s.requests == []


async def test_a_flood_of_empty_continuation_ends_the_connection() -> None:
    async with served(path) as s, connected(s.port) as client:
        first = frame(HEADERS, 1, 1, block(GET))
        assert await _flood(client, first, *((frame(CONTINUATION, 0, 1),) * 3000)) in (PROTOCOL, CALM)


async def test_a_header_bomb_ends_the_connection() -> None:
    async with served(path) as s, connected(s.port) as client:
        bomb = block(GET) + b"\x40\1x\x7f\xa0\x1e" + b"y" * 3999 + b"\xbe" * 12_000  # one large entry, again and again
        assert await _flood(client, frame(HEADERS, 5, 1, bomb)) == CALM
        assert s.requests == []


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async with served(path) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(PREFACE + frame(SETTINGS))
        await until(lambda: len(s.server.connections) == 1)
        try:
            while s.server.connections:
                writer.write(frame(PING, payload=NOTHING) * 1000)
                await asyncio.wait_for(writer.drain(), 5)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        await until(lambda: not s.server.connections)
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
