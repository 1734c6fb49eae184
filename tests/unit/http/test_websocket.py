"""WebSockets that end in Python: the handshake, messages, closing, back-pressure, and the gates of their object."""

from __future__ import annotations

import asyncio
import gc
import sys
import zlib
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, NegotiationError
from websockets.protocol import State

from moorings.clock import ManualClock
from moorings.errors import StoreError, WebSocketClosed
from moorings.http import Request, Response
from moorings.http.websocket import MAX_UNSENT, WebSocket
from tests.support.frames import BINARY, CONT, PING, TEXT, close, frame
from tests.support.frames import HANDSHAKE as UPGRADE
from tests.support.raw import request as request_bytes
from tests.unit.http.wire import PATIENCE, dialled, get, served, until

HANDSHAKE = request_bytes("GET", "/", UPGRADE)
MAX_MESSAGE = 1024 * 1024  # the default of accept_websocket(max_message=)
Talk = Callable[[WebSocket], Awaitable[None]]


class Accepting:
    """A handler that accepts, and talks in a task that its owner awaits."""

    def __init__(self, talk: Talk, *, protocols: tuple[str, ...] = (), gate: Gate | None = None) -> None:
        self._talk = talk
        self._protocols = protocols
        self._gate = gate
        self.tasks: list[asyncio.Task[None]] = []
        self.sockets: list[WebSocket] = []

    async def __call__(self, request: Request) -> Response:
        if self._gate is not None:
            request.gate_messages(self._gate)
        ws = request.accept_websocket(protocols=self._protocols)
        self.sockets.append(ws)

        async def talk() -> None:
            await self._talk(ws)

        self.tasks.append(asyncio.get_running_loop().create_task(talk()))
        return ws.response

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self.tasks)


class Gate:
    """Writes that are durable when a test says so."""

    def __init__(self) -> None:
        self.pending: asyncio.Future[None] | None = None

    def pending_writes(self) -> Awaitable[None] | None:
        return self.pending

    async def admitted(self) -> None:
        return None

    def write(self) -> asyncio.Future[None]:
        self.pending = asyncio.get_running_loop().create_future()
        return self.pending

    def written(self) -> None:
        assert self.pending is not None
        pending, self.pending = self.pending, None
        pending.set_result(None)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def handler_started(handler: Accepting) -> None:
    await until(lambda: bool(handler.tasks))


def url(port: int) -> str:
    return f"ws://127.0.0.1:{port}/"


async def test_messages_come_and_go_with_compression_and_a_subprotocol() -> None:
    handler = Accepting(echo, protocols=("new", "old"))
    async with served(handler) as s:
        async with connect(url(s.port), subprotocols=["old", "new"]) as client:  # type: ignore[list-item]  # plain str
            assert client.subprotocol == "new"
            assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
            for message in ("text", b"bytes", "*" * 100_000, ""):
                await client.send(message)
                assert await client.recv() == message
        await handler.ended()
        assert (handler.sockets[0].code, handler.sockets[0].protocol) == (1000, "new")


async def test_a_request_that_is_no_handshake_is_refused_with_400() -> None:
    handler = Accepting(echo)
    async with served(handler) as s, dialled(s.port) as client:
        assert (await client.ask(get())).status == 400
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        assert (await client.ask(get(extra=upgrade))).status == 400
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n"
        assert (await client.ask(get(extra=upgrade + key))).status == 400


async def test_a_client_that_speaks_other_subprotocols_only_is_refused() -> None:
    async with served(Accepting(echo, protocols=("a",))) as s:
        with pytest.raises((InvalidStatus, NegotiationError)):
            await connect(url(s.port), subprotocols=["b"])  # type: ignore[list-item]  # plain str


async def test_closing_here_tells_the_client_and_ends_the_iteration() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.close(4001, "enough")
        assert [message async for message in ws] == []
        with pytest.raises(WebSocketClosed):
            ws.send("late")

    handler = Accepting(talk)
    async with served(handler) as s, connect(url(s.port)) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "enough")
        await handler.ended()


async def test_a_client_that_is_cut_off_ends_the_iteration_with_1006_and_sends_do_nothing() -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(WebSocketClosed, match="1006"):
            await ws.receive()
        await ws.send("nobody")

    handler = Accepting(talk)
    async with served(handler) as s:
        client = await connect(url(s.port))
        client.transport.abort()
        await handler.ended()
        assert handler.sockets[0].code == 1006


async def test_a_message_waits_for_the_writes_before_it_and_keeps_its_place() -> None:
    gate = Gate()

    async def talk(ws: WebSocket) -> None:
        async for message in ws:
            gate.write()
            ws.send(f"{message!s} 1")
            ws.send(f"{message!s} 2")

    handler = Accepting(talk, gate=gate)
    async with served(handler) as s, connect(url(s.port)) as client:
        await client.send("a")
        await until(lambda: gate.pending is not None)
        await (await client.ping())  # what is written here comes after what was not held back
        gate.written()
        assert [await client.recv(), await client.recv()] == ["a 1", "a 2"]


async def test_writes_that_fail_break_the_connection_off_and_nothing_is_told() -> None:
    gate = Gate()

    async def talk(ws: WebSocket) -> None:
        async for message in ws:
            pending = gate.write()
            ws.send(message)
            pending.set_exception(StoreError("the disk is full"))

    handler = Accepting(talk, gate=gate)
    async with served(handler) as s, connect(url(s.port)) as client:
        await client.send("a")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        await handler.ended()


async def test_messages_that_nobody_reads_hold_the_client_back() -> None:
    go = asyncio.Event()
    count = 0

    async def talk(ws: WebSocket) -> None:
        nonlocal count
        await go.wait()
        async for _ in ws:
            count += 1

    handler = Accepting(talk)
    async with served(handler) as s, connect(url(s.port), compression=None) as client:
        sending = asyncio.gather(*(client.send(b"*" * 100_000) for _ in range(200)))
        done, _ = await asyncio.wait((sending,), timeout=0.2)
        assert not done
        go.set()
        await sending
        await client.close()
        await handler.ended()
        assert count == 200


async def test_messages_that_become_large_when_they_are_unpacked_wait_unpacked_until_they_are_read() -> None:
    go = asyncio.Event()
    sizes = []

    async def talk(ws: WebSocket) -> None:
        await go.wait()
        async for message in ws:
            sizes.append(len(message))

    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(bytes(MAX_MESSAGE)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    message = frame(BINARY, packed.removesuffix(b"\0\0\xff\xff"), rsv=4)
    offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover")
    handler = Accepting(talk)
    async with served(handler) as s, dialled(s.port) as client:
        await client.send(request_bytes("GET", "/", (*UPGRADE, offer)) + message * 30 + close())
        await client.head()
        (ws,) = handler.sockets
        await until(lambda: ws._arrived_bytes > 0)
        assert ws._arrived_bytes == MAX_MESSAGE
        go.set()
        assert (await client.rest())[-2:] == b"\x03\xe8"
        client.writer.close()
        await handler.ended()
        assert sizes == [MAX_MESSAGE] * 30
        assert ws.code == 1000


async def test_empty_fragments_cost_nothing() -> None:
    handler = Accepting(echo)
    async with served(handler) as s, dialled(s.port) as client:
        await client.send(HANDSHAKE)
        await client.head()
        await client.send(frame(TEXT, b"a", fin=False) + frame(CONT, fin=False) * 50_000 + frame(PING))
        assert await client.reader.readexactly(2) == b"\x8a\0"
        assert sys.getsizeof(handler.sockets[0]._parts) < 1000
        await client.send(frame(CONT, b"b"))
        assert await client.reader.readexactly(4) == b"\x81\x02ab"


@pytest.mark.parametrize("why", ["close", "no text"])
async def test_a_socket_whose_messages_nobody_reads_can_still_be_closed_in_order(why: str) -> None:
    full, done = asyncio.Event(), asyncio.Event()

    async def talk(ws: WebSocket) -> None:
        await full.wait()
        if why == "close":
            await ws.close(4000)
        else:
            with pytest.raises(WebSocketClosed):
                await ws.receive()
        done.set()

    handler = Accepting(talk)
    message = frame(TEXT, b"\xff")
    async with served(handler, clock=ManualClock()) as s, dialled(s.port) as client:
        await client.send(HANDSHAKE + message * 64)
        await client.head()
        connection = handler.sockets[0]._connection
        assert connection is not None
        await until(lambda: not connection.reading)
        full.set()
        told = await client.reader.readexactly(4)
        await client.send(message * 1000 + close(4000))
        client.writer.write_eof()
        await client.rest()
        await asyncio.wait_for(done.wait(), PATIENCE)
        code = int.from_bytes(told[2:], "big")
        assert code == (4000 if why == "close" else 1007)
        assert handler.sockets[0].code == (4000 if why == "close" else 1006)
        assert len(handler.sockets[0]._arrived) <= 64


@pytest.mark.parametrize("early", [False, True])
async def test_a_client_that_takes_nothing_is_closed_with_1013_and_holds_no_more_memory(early: bool) -> None:
    message = b"*" * 64 * 1024
    sent = 0

    async def send_without_waiting(ws: WebSocket) -> None:
        nonlocal sent
        while sent < 2000 and ws._frames.state is State.OPEN:
            ws.send(message)
            sent += 1
            if not early:
                await asyncio.sleep(0)
        assert ws._unsent() < MAX_UNSENT + 2 * len(message)
        ws.send("dropped")

    async def talk(ws: WebSocket) -> None:
        if not early:
            await send_without_waiting(ws)

    handler = Accepting(talk)

    async def answer(request: Request) -> Response:
        response = await handler(request)
        if early:
            await send_without_waiting(handler.sockets[0])
        return response

    async with served(answer) as s, dialled(s.port) as client:
        await client.send(HANDSHAKE)
        await handler_started(handler)
        await handler.ended()
        assert 16 < sent < 2000
        data = b""
        while not data.endswith(b"\x88\x0a\x03\xf5too slow"):
            data += await asyncio.wait_for(client.reader.read(1 << 20), PATIENCE)
        await client.send(close(1013))
        assert await client.rest() == b""
        client.writer.close()
        async with asyncio.timeout(PATIENCE):
            await handler.sockets[0].close()
        assert handler.sockets[0].code == 1013


async def test_a_client_that_pings_and_takes_no_pongs_is_held_back_until_it_does() -> None:
    handler = Accepting(echo)
    pings = frame(PING, b"*" * 125) * 100
    async with served(handler) as s, dialled(s.port) as client:
        await client.send(HANDSHAKE)
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        connection = handler.sockets[0]._connection
        assert connection is not None
        count = 0
        async with asyncio.timeout(PATIENCE):
            while connection.reading:
                if client.writer.transport.get_write_buffer_size() < len(pings):
                    client.writer.write(pings)
                    count += 1
                await asyncio.sleep(0)
        assert handler.sockets[0]._unsent() < MAX_UNSENT
        await client.reader.readexactly(127 * 100 * count)
        await client.send(frame(TEXT, b"on"))
        assert await client.reader.readexactly(4) == b"\x81\x02on"


async def test_the_headers_of_the_response_can_be_changed_before_it_is_returned() -> None:
    async def handler(request: Request) -> Response:
        ws = request.accept_websocket()
        ws.response.headers["X-Room"] = "7"
        await asyncio.sleep(0)
        return ws.response

    async with served(handler) as s, connect(url(s.port)) as client:
        assert client.response is not None
        assert client.response.headers["X-Room"] == "7"


async def test_a_platform_that_stops_tells_the_client_1001() -> None:
    async with served(Accepting(echo)) as s, connect(url(s.port)) as client:
        ending = asyncio.gather(s.server.end_upgraded(PATIENCE))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001
        await ending


async def test_a_platform_that_stops_waits_for_a_client_that_never_answers_no_longer_than_it_should(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    async with served(Accepting(echo), clock=clock) as s, dialled(s.port) as client:
        await client.send(HANDSHAKE)
        await client.head()
        ending = asyncio.ensure_future(s.server.end_upgraded(3))
        assert await client.reader.readexactly(2 + 2 + len("going away"))
        await clock.advance(3)
        await asyncio.wait_for(ending, PATIENCE)
        gc.collect()
        assert caplog.records == []


async def test_a_socket_whose_101_is_never_sent_ends() -> None:
    sockets = []

    async def handler(request: Request) -> Response:
        ws = request.accept_websocket()
        sockets.append(ws)
        assert ws.response.status == 101
        return Response("no", status=403)

    async with served(handler) as s:
        with pytest.raises(InvalidStatus):
            await connect(url(s.port))
        assert [message async for message in sockets[0]] == []
