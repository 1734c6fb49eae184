"""Upgrades: the handshake that reaches the upstream, bytes both ways, and how a tunnel ends."""

from __future__ import annotations

import asyncio

import pytest

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.http import Request, Response
from moorings.http.upgrade import UpgradeResponse
from moorings.proxy import switch
from moorings.proxy.websocket import CLOSE_TIMEOUT, MAX_UNSENT
from tests.support.frames import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, Received, close, frame
from tests.unit.http.wire import PATIENCE, dialled, get, request_head, until
from tests.unit.proxy.tunnelled import (
    ASK,
    ASK_WEBSOCKET,
    accepting,
    echo_frames,
    next_frame,
    shout,
    switched,
    tunnelled,
)

# --- the handshake


async def test_the_handshake_is_forwarded_with_the_fields_of_this_hop_and_so_is_the_answer() -> None:
    heads: list[bytes] = []
    async with tunnelled(accepting("chat", shout, heads)) as t, dialled(t.front.port) as client:
        headers = await switched(client, ASK)
        lines = heads[0].decode().split("\r\n")
        assert lines[0] == "GET /chat HTTP/1.1"
        assert [line for line in lines if line.lower().startswith(("connection", "upgrade"))] == [
            "Connection: Upgrade",
            "Upgrade: chat",
        ]
        assert "X-Forwarded-For: 127.0.0.1" in lines
        assert headers == [("X-Own", "1"), ("Connection", "Upgrade"), ("Upgrade", "chat")]


async def test_a_request_copied_in_python_keeps_its_upgrade() -> None:
    heads: list[bytes] = []
    async with tunnelled(accepting("chat", shout, heads)) as t:

        async def handler(request: Request) -> Response:
            copy = Request(request, headers=[*request.headers.items(), ("X-Mine", "1")])
            return await switch(copy, t.pool, t.open)

        t.front.server.handler = handler
        async with dialled(t.front.port) as client:
            await switched(client, ASK)
            assert b"\r\nX-Mine: 1\r\n" in heads[0]
            assert heads[0].count(b"\r\nUpgrade: chat\r\n") == 1


async def test_an_upstream_that_refuses_answers_like_any_other_and_both_connections_are_kept() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_head(reader)
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async with tunnelled(script) as t, dialled(t.front.port) as client:
        for _ in range(3):
            answer = await client.ask(ASK)
            assert (answer.status, answer.body) == (403, b"no")
        assert (t.pool.open, t.pool.idle) == (1, 1)
        assert t.exchanges == [1, 1, 1]


async def test_a_handler_may_change_the_headers_of_a_101() -> None:
    def change(response: Response) -> Response:
        response.headers["Set-Cookie"] = "a=b"
        return response

    async with tunnelled(accepting("chat", shout), change) as t, dialled(t.front.port) as client:
        assert ("Set-Cookie", "a=b") in await switched(client, ASK)


async def test_a_101_that_the_handler_does_not_return_closes_what_is_behind_it() -> None:
    async with (
        tunnelled(accepting("chat", shout), lambda response: Response("no", status=400)) as t,
        dialled(t.front.port) as client,
    ):
        assert (await client.ask(ASK)).status == 400
        await until(lambda: len(t.ended) == 1)


async def test_a_101_for_a_request_that_did_not_ask_is_an_error() -> None:
    kept: list[Response] = []
    async with tunnelled(accepting("chat", shout)) as t:

        async def handler(request: Request) -> Response:
            if request.upgrade is None:
                return kept[0]
            kept.append(await switch(request, t.pool, t.open))
            return Response("kept")

        t.front.server.handler = handler
        async with dialled(t.front.port) as client:
            assert (await client.ask(ASK)).status == 200
            assert isinstance(kept[0], UpgradeResponse)
            assert (await client.ask(get())).status == 500
        await until(lambda: len(t.ended) == 1)


# --- bytes


async def test_any_protocol_passes_and_half_closes_are_kept() -> None:
    async with tunnelled(accepting("chat", shout)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        await client.send(b"hello")
        assert await client.reader.readexactly(5) == b"HELLO"
        client.writer.write_eof()
        assert await client.rest() == b"LAST"
        await until(lambda: len(t.ended) == 1)
        assert t.exchanges == [1]
        assert len(t.active) == 3


async def test_an_upstream_may_end_first_and_still_hear_the_client() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        heard.set_result(await reader.read())

    async with tunnelled(accepting("chat", ends_first)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        assert await client.rest() == b""
        await client.send(b"still here")
        client.writer.write_eof()
        assert await asyncio.wait_for(heard, PATIENCE) == b"still here"
        await until(lambda: len(t.ended) == 1)


async def test_bytes_right_behind_the_handshake_and_the_101_are_not_lost() -> None:
    async with tunnelled(accepting("chat", shout, more=b"early ")) as t, dialled(t.front.port) as client:
        await switched(client, ASK + b"bird")
        assert await client.reader.readexactly(10) == b"early BIRD"


async def test_a_client_that_resets_resets_the_upstream() -> None:
    async with tunnelled(accepting("chat", shout)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        client.reset()
        await until(lambda: len(t.ended) == 1)


async def test_an_upstream_that_resets_resets_the_client() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER
        writer.transport.abort()

    async with tunnelled(accepting("chat", die)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        await client.send(b"x")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        await until(lambda: len(t.ended) == 1)


async def test_a_reader_that_stops_holds_back_the_other_side() -> None:
    sent = 0
    go = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(64):
            writer.write(b"*" * (1 << 20))
            await writer.drain()
            sent += 1
        go.set()

    async with tunnelled(accepting("chat", flood)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 32
        got = 0
        while got < 64 << 20:
            got += len(await asyncio.wait_for(client.reader.read(1 << 20), PATIENCE))
        await asyncio.wait_for(go.wait(), PATIENCE)


async def test_closing_the_server_ends_tunnels() -> None:
    async with tunnelled(accepting("chat", shout)) as t, dialled(t.front.port) as client:
        await switched(client, ASK)
        await t.front.server.close()
        await until(lambda: len(t.ended) == 1)


async def test_a_silent_tunnel_ends_when_the_platform_stops_and_one_that_moves_may_go_on() -> None:
    async with tunnelled(accepting("chat", shout)) as t, dialled(t.front.port) as silent, dialled(t.front.port) as busy:
        await switched(silent, ASK)
        await switched(busy, ASK)
        ending = asyncio.ensure_future(t.front.server.end_upgraded(60))
        while not t.ended:
            await busy.send(b"x")
            assert await busy.reader.readexactly(1) == b"X"
        with pytest.raises(ConnectionResetError):
            await silent.rest()
        assert len(t.ended) == 1
        assert not ending.done()
        busy.writer.close()
        async with asyncio.timeout(PATIENCE):
            await ending


# --- WebSockets


async def test_data_frames_are_activity_and_pings_pongs_and_closes_are_not() -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        for data in (frame(PING, b"x"), frame(PONG, b"y")):
            await client.send(data)
            await next_frame(client)
        assert t.active == []
        await client.send(frame(TEXT, b"x"))
        await next_frame(client)
        assert len(t.active) == 2
        await client.send(close())
        await client.rest()
        assert len(t.active) == 2


async def test_a_socket_says_when_it_was_opened_and_when_its_last_data_frame_passed() -> None:
    clock = ManualClock(start=1_000_000_000.0)
    tunnel = tunnelled(accepting("websocket", echo_frames), clock=clock)
    async with tunnel as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        [ws] = t.opened
        for opcode, last in ((PING, 0), (TEXT, 20), (PING, 20)):
            await clock.advance(10)
            await client.send(frame(opcode, b"x"))
            await next_frame(client)
            assert (ws.opened_at, ws.last_activity) == (1_000_000_000.0, 1_000_000_000.0 + last)


async def test_a_close_goes_to_both_sides_and_is_over_when_both_have_answered() -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(2 + 4 + 2 + 3))
        writer.write(frame(CLOSE, b"\x03\xe9", mask=None))

    async with tunnelled(accepting("websocket", listen)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        (socket,) = t.opened
        closing = socket.close(1001, "bye")
        assert await next_frame(client) == Received(0x88, b"\x03\xe9bye")
        await client.send(close(1001))
        assert await client.rest() == b""
        async with asyncio.timeout(PATIENCE):
            await closing
        first, second, *rest = heard[0]
        assert (first, second) == (0x88, 0x80 | 5)
        assert bytes(byte ^ rest[i % 4] for i, byte in enumerate(rest[4:])) == b"\x03\xe9bye"
        assert t.ended == [socket]


async def test_a_close_waits_for_the_end_of_a_frame_and_nothing_passes_after_it() -> None:
    go, clock = asyncio.Event(), ManualClock()

    async def halting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = frame(TEXT, b"0123456789", fin=False, mask=None)
        writer.write(data[:5])
        await go.wait()
        writer.write(data[5:] + frame(CONT, b"never", mask=None))
        await reader.read()

    async with tunnelled(accepting("websocket", halting), clock=clock) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        assert len(await client.reader.readexactly(5)) == 5
        closing = t.opened[0].close(1001, "bye")
        go.set()
        assert await client.reader.readexactly(7) == b"3456789"
        assert (await next_frame(client)).payload == b"\x03\xe9bye"
        await client.send(close(1001))
        assert await client.rest() == b""
        await clock.advance(CLOSE_TIMEOUT)  # the upstream never answers the close frame
        async with asyncio.timeout(PATIENCE):
            await closing


async def test_a_message_is_put_between_two_messages_and_not_into_a_fragmented_one() -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        (socket,) = t.opened
        await socket.send("hello")
        assert await next_frame(client) == Received(0x81, b"hello")
        await client.send(frame(TEXT, b"a", fin=False))
        assert (await next_frame(client)).payload == b"a"
        sent = socket.send(b"own")
        await client.send(frame(CONT, b"b"))
        assert await next_frame(client) == Received(0x80, b"b")
        assert await next_frame(client) == Received(0x82, b"own")
        async with asyncio.timeout(PATIENCE):
            await sent


@pytest.mark.parametrize("how", ["send", "close"])
async def test_nothing_is_put_behind_a_close_frame_that_was_under_way(how: str) -> None:
    go_on = asyncio.Event()

    async def say_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x88")
        await go_on.wait()
        writer.write(b"\x02\x03\xe8")
        await reader.read(100)  # the client's close frame, or ours
        writer.close()

    async with tunnelled(accepting("websocket", say_goodbye)) as t, dialled(t.front.port) as client:
        await client.send(ASK_WEBSOCKET)
        await client.head()
        (socket,) = t.opened
        await until(lambda: not socket.container.frames.between_frames)
        told = socket.send("too late") if how == "send" else socket.close(1001, "going")
        go_on.set()
        assert await client.reader.readexactly(4) == b"\x88\x02\x03\xe8"
        await client.send(close(1000))
        assert await client.rest() == b""
        client.writer.close()
        await told
        await until(lambda: bool(t.ended))


async def test_a_ping_whose_header_comes_in_two_pieces_is_no_activity_while_a_message_waits() -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(await pieces.get())

    async with tunnelled(accepting("websocket", say)) as t, dialled(t.front.port) as client:
        await client.send(ASK_WEBSOCKET)
        await client.head()
        (socket,) = t.opened
        pieces.put_nowait(b"\x01\x01a")
        assert await client.reader.readexactly(3) == b"\x01\x01a"
        socket.send("waits for the end of the message")
        assert len(t.active) == 1
        for piece in (b"\x89", b"\x00"):
            pieces.put_nowait(piece)
            assert await client.reader.readexactly(1) == piece
        assert len(t.active) == 1


async def test_a_client_that_takes_nothing_of_what_it_is_sent_is_closed_and_holds_no_more_memory() -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        (socket,) = t.opened
        message = bytes(64 * 1024)
        for _ in range(1000):
            if socket.is_closing:
                break
            socket.send(message)
            await asyncio.sleep(0)
        assert socket.is_closing
        assert socket._unsent() < MAX_UNSENT + 2 * len(message)
        data = b""
        while not data.endswith(b"\x88\x0a\x03\xf5too slow"):
            data += await asyncio.wait_for(client.reader.read(1 << 20), PATIENCE)


async def test_a_message_whose_object_failed_to_write_is_not_sent_and_says_so() -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        (socket,) = t.opened
        t.write_error = StoreError("the disk is full")
        socket.send("dropped")
        with pytest.raises(StoreError):
            await socket.send("awaited")
        t.write_error = None
        await socket.send("sent")
        assert (await next_frame(client)).payload == b"sent"


async def test_what_is_told_waits_for_the_gate_in_order() -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        (socket,) = t.opened
        t.held = []
        socket.send("first")
        socket.close(1001)
        await client.send(frame(BINARY, b"x"))
        assert (await next_frame(client)).payload == b"x"
        for action in t.held:
            action()
        assert (await next_frame(client)).payload == b"first"
        assert (await next_frame(client)).opcode == CLOSE


async def test_a_socket_that_is_being_stopped_says_goodbye_where_its_program_does_not() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)

    async with tunnelled(accepting("websocket", leave)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        t.stopping = True
        await client.send(frame(PING, mask=MASK))
        assert (await next_frame(client)).payload == b"\x03\xe9going away"
        await client.send(close(1001))
        assert await client.rest() == b""
        await until(lambda: len(t.ended) == 1)


async def test_a_client_that_has_ended_its_sending_gets_the_close_frame_and_the_end() -> None:
    gone = asyncio.Event()

    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        gone.set()
        await asyncio.Event().wait()

    clock = ManualClock()
    async with tunnelled(accepting("websocket", stay), clock=clock) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        client.writer.write_eof()
        await asyncio.wait_for(gone.wait(), PATIENCE)
        t.opened[0].go_away()
        assert (await next_frame(client)).payload == b"\x03\xe9going away"
        assert await client.rest() == b""
        await clock.advance(CLOSE_TIMEOUT)
        await until(lambda: len(t.ended) == 1)


@pytest.mark.parametrize("how", ["close", "send", "go away", "stop"])
async def test_an_upstream_that_has_ended_its_sending_can_be_closed_and_its_tunnel_ends(how: str) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await asyncio.Event().wait()

    clock = ManualClock()
    async with tunnelled(accepting("websocket", half), clock=clock) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        assert await client.rest() == b""
        (socket,) = t.opened
        if how == "close":
            socket.close()
        elif how == "send":
            await socket.send("nobody hears it")
            client.writer.close()
        elif how == "go away":
            socket.go_away()
        else:
            t.stopping = True
            socket.container_ended()
        await clock.advance(CLOSE_TIMEOUT)
        await until(lambda: len(t.ended) == 1)


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1006, ""), (999, ""), (2999, ""), (1000, "é" * 62)])
async def test_a_close_that_can_not_be_sent_is_refused(code: int, reason: str) -> None:
    async with tunnelled(accepting("websocket", echo_frames)) as t, dialled(t.front.port) as client:
        await switched(client, ASK_WEBSOCKET)
        with pytest.raises(ValueError, match="close"):
            t.opened[0].close(code, reason)
