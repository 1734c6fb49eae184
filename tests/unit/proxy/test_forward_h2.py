"""Requests over HTTP/2 to a container: streams, windows, and every way an exchange can end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from moorings.clock import SystemClock
from moorings.errors import ClientDisconnected, ConnectFailed, UpstreamError
from moorings.http import Headers, Request
from moorings.http.h2_client.pool import H2Pool
from moorings.proxy import forward_h2
from tests.support.http2 import PING, frame
from tests.unit.http.wire import until, upstream
from tests.unit.proxy.h2_upstream import OK, PATIENCE, Behind, Peer, behind
from tests.unit.proxy.proxied import answering

GRPC = {"content-type": "application/grpc"}


async def echo(peer: Peer) -> None:
    """Answer every request with its body, and its trailers in the trailers."""
    bodies: dict[int, bytes] = {}
    while True:
        request = await peer.next(RequestReceived)
        stream = request.stream_id
        bodies[stream] = b""
        if request.stream_ended is None:
            while True:
                event = await peer.next(DataReceived)
                bodies[stream] += event.data or b""
                peer.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                peer.flush()
                if event.stream_ended is not None:
                    break
        peer.answer(stream, bodies.pop(stream))


def asking(b: Behind, path: str = "/", **options: object) -> Request:
    return Request(f"http://name.example{path}", **options)  # type: ignore[arg-type]  # what a test gives


async def test_requests_share_a_connection_and_each_gets_its_own_answer() -> None:
    async with behind(echo) as b:
        bodies = [b"%d" % number for number in range(60)]
        responses = await asyncio.gather(*(b.send(asking(b, method="POST", body=body)) for body in bodies))
        assert [await response.bytes() for response in responses] == bodies
        assert b.pool.open == 1
        assert len(b.ends) == 60


async def test_a_request_keeps_its_authority_path_and_fields_without_those_of_one_hop() -> None:
    seen: list[dict[str, str]] = []

    async def script(peer: Peer) -> None:
        request = await peer.next(RequestReceived)
        seen.append(dict(request.headers))  # type: ignore[arg-type]  # pairs of str
        peer.answer(request.stream_id)

    async with behind(script) as b:
        headers = {"Connection": "x-hop", "X-Hop": "1", "Keep-Alive": "2", "X-Kept": "Yes", "Cookie": "a=1; b=2"}
        await (await b.send(asking(b, "/a?b=c%20d", headers=headers))).bytes()
    assert seen == [
        {
            ":method": "GET",
            ":scheme": "http",
            ":path": "/a?b=c%20d",
            ":authority": "name.example",
            "x-kept": "Yes",
            "cookie": "a=1; b=2",
        }
    ]


async def test_trailers_pass_both_ways() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.next(RequestReceived)
        trailers = await peer.next(TrailersReceived)
        peer.h2.send_headers(request.stream_id, OK)
        peer.h2.send_data(request.stream_id, b"ok")
        peer.h2.send_headers(request.stream_id, trailers.headers or [], end_stream=True)
        peer.flush()

    async with behind(script) as b:
        response = await b.send(asking(b, method="POST", body=b"abc", trailers={"Sum": "7"}))
        assert await response.bytes() == b"ok"
        assert response.trailers == Headers({"sum": "7"})


async def test_an_upload_waits_for_the_servers_window_and_others_go_on() -> None:
    size = 300_000
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        slow = (await peer.next(RequestReceived)).stream_id
        got = 0
        while got < 65_535:
            got += len((await peer.next(DataReceived)).data or b"")
        peer.answer((await peer.next(RequestReceived)).stream_id)
        await answered.wait()
        peer.h2.increment_flow_control_window(size)
        peer.h2.increment_flow_control_window(size, slow)
        peer.flush()
        while got < size:
            got += len((await peer.next(DataReceived)).data or b"")
        peer.answer(slow, b"%d" % got)

    async with behind(script) as b:
        slow = asyncio.ensure_future(b.send(asking(b, method="POST", body=b"x" * size)))
        await until(lambda: b.pool.open == 1 and next(iter(b.pool._connections)).streams == 1)
        quick = await b.send(asking(b))
        assert await quick.bytes() == b"ok"
        answered.set()
        assert await (await slow).bytes() == b"300000"


async def test_a_reader_that_pauses_stops_its_own_stream_only() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        slow = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(slow, OK)
        while (room := min(peer.h2.local_flow_control_window(slow), 16_384)) > 0:
            peer.h2.send_data(slow, b"x" * room)
            sent += room
        peer.flush()
        quick = (await peer.next(RequestReceived)).stream_id
        peer.answer(quick, b"y" * 10_000)
        while (await peer.next(WindowUpdated)).stream_id != slow:
            pass
        peer.h2.send_data(slow, b"", end_stream=True)
        peer.flush()

    async with behind(script) as b:
        slow = await b.send(asking(b))
        quick = await b.send(asking(b))
        assert await quick.bytes() == b"y" * 10_000
        assert sent == 65_535
        assert len(await slow.bytes()) == sent


async def test_a_client_that_goes_away_resets_its_stream_only() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        first = (await peer.next(RequestReceived)).stream_id
        second = (await peer.next(RequestReceived)).stream_id
        reset = await peer.next(StreamReset)
        assert reset.stream_id == first
        codes.append(int(reset.error_code or 0))
        peer.answer(second)

    async with behind(script) as b:
        leaving = asking(b)
        gone = asyncio.ensure_future(b.send(leaving))
        await asyncio.sleep(0)
        stays = asyncio.ensure_future(b.send(asking(b)))
        await until(lambda: b.pool.open == 1 and next(iter(b.pool._connections)).streams == 2)
        leaving.signal.fire()
        with pytest.raises(ClientDisconnected):
            await gone
        assert await (await stays).bytes() == b"ok"
        assert codes == [ErrorCodes.CANCEL]
        assert len(b.ends) == 2


async def test_a_dropped_body_resets_its_stream() -> None:
    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, OK)
        peer.h2.send_data(stream, b"some")
        peer.flush()
        await peer.next(StreamReset)

    async with behind(script) as b:
        response = await b.send(asking(b))
        del response
        await until(lambda: b.ends == [1])


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_an_upstream_that_breaks_off_mid_body_fails_the_body(how: str) -> None:
    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, OK)
        peer.h2.send_data(stream, b"some")
        peer.flush()
        if how == "reset":
            peer.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            peer.flush()
        else:
            peer.writer.close()

    async with behind(script) as b:
        response = await b.send(asking(b))
        with pytest.raises(UpstreamError):
            await response.bytes()
        assert b.ends == [1]


async def test_a_call_whose_upstream_breaks_off_ends_with_a_status() -> None:
    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, [*OK, ("content-type", "application/grpc")])
        peer.h2.send_data(stream, b"some")
        peer.flush()
        await peer.writer.drain()
        peer.writer.close()

    async with behind(script) as b:
        response = await b.send(asking(b, method="POST", headers=GRPC, body=b"x"))
        await response.bytes()
        assert response.trailers is not None
        assert response.trailers["grpc-status"] == "14"
        assert b.ends == [1]


async def test_a_call_whose_deadline_passes_in_the_middle_ends_with_that_status_and_is_cancelled_behind() -> None:
    codes: list[int] = []

    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, [*OK, ("content-type", "application/grpc")])
        peer.h2.send_data(stream, b"some")
        peer.flush()
        codes.append(int((await peer.next(StreamReset)).error_code or 0))

    async with behind(script) as b:
        request = asking(b, method="POST", headers=GRPC, body=b"x")
        request.expire_at(SystemClock().monotonic() + 0.05)
        response = await b.send(request)
        assert await response.bytes() == b"some"
        assert response.trailers is not None
        assert response.trailers["grpc-status"] == "4"
        await until(lambda: codes == [ErrorCodes.CANCEL])
        assert b.ends == [1]


@pytest.mark.parametrize("refusal", ["refused", "goaway"])
async def test_what_was_refused_is_sent_again_whatever_the_method(refusal: str) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.next(RequestReceived)
        if peer.number == 1 and request.stream_id == 1:
            if refusal == "refused":
                peer.h2.reset_stream(request.stream_id, ErrorCodes.REFUSED_STREAM)
                peer.flush()
                request = await peer.next(RequestReceived)
            else:
                peer.go_away(0)
                return
        body = await peer.next(DataReceived)
        peer.answer(request.stream_id, body.data or b"")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"all of it"

    async with behind(script) as b:
        response = await b.send(asking(b, method="POST", body=chunks()))
        assert await response.bytes() == b"all of it"
        assert b.ends == [1]


async def test_streams_that_a_goaway_accepts_go_on_to_their_end() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.next(RequestReceived)
        if peer.number == 1:
            peer.go_away(request.stream_id)
            await asyncio.sleep(0)
        peer.answer(request.stream_id, b"%d" % peer.number)

    async with behind(script) as b:
        assert await (await b.send(asking(b))).bytes() == b"1"
        assert await (await b.send(asking(b))).bytes() == b"2"


async def test_a_dead_connection_is_replaced_for_safe_methods_only() -> None:
    async def script(peer: Peer) -> None:
        request = await peer.next(RequestReceived)
        peer.answer(request.stream_id, b"%d" % peer.number)
        request = await peer.next(RequestReceived)
        peer.writer.close()

    async with behind(script) as b:
        assert await (await b.send(asking(b))).bytes() == b"1"
        assert await (await b.send(asking(b))).bytes() == b"2"
        with pytest.raises(UpstreamError):
            await b.send(asking(b, method="POST", body=b"x"))


async def test_another_connection_is_made_when_one_carries_all_it_may() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        streams = [(await peer.next(RequestReceived)).stream_id for _ in range(2)]
        await release.wait()
        for stream in streams:
            peer.answer(stream)

    async with behind(script, settings={3: 2}) as b:
        asked = [asyncio.ensure_future(b.send(asking(b))) for _ in range(6)]
        await until(lambda: [connection.streams for connection in b.pool._connections] == [2, 2, 2])
        release.set()
        for answer in await asyncio.gather(*asked):
            assert await answer.bytes() == b"ok"


async def test_a_server_that_takes_no_answer_to_its_pings_is_left_before_they_cost_memory() -> None:
    ready = asyncio.Event()

    async def flood(peer: Peer) -> None:
        await peer.next(SettingsAcknowledged)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the transport of a socket
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await ready.wait()
        while True:
            peer.writer.write(frame(PING, payload=bytes(8)) * 1000)
            await peer.writer.drain()

    async with behind(flood) as b:
        connection = await b.pool.connect()
        transport = connection.transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ready.set()
        largest = 0
        async with asyncio.timeout(PATIENCE):
            while not transport.is_closing():
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0)
        assert largest < 1024 * 1024


async def test_a_port_that_speaks_http_1_is_told_in_words() -> None:
    async with upstream(answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as plain:
        pool = H2Pool("127.0.0.1", plain.port, clock=SystemClock())
        with pytest.raises(UpstreamError, match=r"speaks HTTP/1\.1 on this port"):
            await forward_h2(Request("http://a/"), pool)
        pool.abort()
        await pool.wait_closed()


async def test_nothing_listening_is_a_failed_connect() -> None:
    pool = H2Pool("127.0.0.1", 1, clock=SystemClock())
    ends: list[int] = []
    with pytest.raises(ConnectFailed):
        await forward_h2(Request("http://a/"), pool, on_end=lambda: ends.append(1))
    assert ends == [1]


@pytest.mark.parametrize(
    "headers",
    [
        [(":status", "200"), ("x", "a\r\nset-cookie: b")],
        [(":status", "200"), ("content-length", "4x")],
        [(":status", "2000")],
        [(":status", "200"), ("transfer-encoding", "chunked")],
        [(":status", "200"), (":status", "201")],
        [("x", "y"), (":status", "200")],
        [(":status", "200"), (":path", "/")],
        [("x", "y")],
        [(":status", "200"), ("a b", "c")],
        [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    ],
    ids=["line break", "length", "status", "coding", "two statuses", "status last", "path", "none", "name", "lengths"],
)
async def test_a_malformed_head_never_passes(headers: list[tuple[str, str]]) -> None:
    async def script(peer: Peer) -> None:
        peer.h2.config.validate_outbound_headers = False
        peer.h2.config.normalize_outbound_headers = False
        peer.answer((await peer.next(RequestReceived)).stream_id, headers=headers)

    async with behind(script) as b:
        with pytest.raises(UpstreamError):
            await b.send(asking(b))
        assert b.ends == [1]


async def test_an_answer_that_ends_with_its_head_has_no_length_to_come() -> None:
    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, [*OK, ("content-length", "40")], end_stream=True)
        peer.flush()

    async with behind(script) as b:
        with pytest.raises(UpstreamError, match="shorter"):
            await b.send(asking(b))
        assert b.ends == [1]


async def test_an_answer_whose_trailers_come_before_its_length_is_there_is_broken_off() -> None:
    async def script(peer: Peer) -> None:
        stream = (await peer.next(RequestReceived)).stream_id
        peer.h2.send_headers(stream, [*OK, ("content-length", "40")])
        peer.h2.send_data(stream, b"only ten b")
        peer.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        peer.flush()

    async with behind(script) as b:
        response = await b.send(asking(b))
        with pytest.raises(UpstreamError, match="shorter"):
            await response.bytes()
        assert b.ends == [1]


async def test_an_answer_before_the_request_has_ended_ends_the_upload() -> None:
    async def script(peer: Peer) -> None:
        peer.answer((await peer.next(RequestReceived)).stream_id, b"early")
        await peer.next(StreamReset)

    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    async with behind(script) as b:
        response = await b.send(asking(b, method="POST", body=endless()))
        assert await response.bytes() == b"early"
        await asyncio.wait_for(closed.wait(), 10)
        assert b.ends == [1]


async def test_a_pool_that_is_closed_lets_exchanges_end_and_one_that_is_aborted_breaks_them_off() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        stream = (await peer.next(StreamEnded)).stream_id
        await release.wait()
        peer.answer(stream)

    async with behind(script) as b:
        asked = asyncio.ensure_future(b.send(asking(b)))
        await until(lambda: b.pool.open == 1 and next(iter(b.pool._connections)).streams == 1)
        b.pool.close()
        release.set()
        assert await (await asked).bytes() == b"ok"
        await until(lambda: b.pool.open == 0)
        with pytest.raises(ConnectFailed):
            await b.send(asking(b))
