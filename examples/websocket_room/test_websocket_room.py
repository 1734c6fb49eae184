"""What the room of WebSockets promises, over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.frames import PING, TEXT, Socket, close, frame
from tests.support.platform import Platform
from tests.support.raw import get


@asynccontextmanager
async def entered(platform: Platform, session: str) -> AsyncIterator[Socket]:
    """A socket in the session's room, which leaves with a closing handshake."""
    with await Socket.open(platform.address, headers=(("X-Session-ID", session),)) as socket:
        yield socket
        await socket.send(close())
        await socket.rest()


async def said(socket: Socket) -> str:
    return (await socket.frame()).payload.decode()


async def test_those_of_one_session_share_a_room_and_no_others(platform: Platform) -> None:
    async with entered(platform, "a") as anna, entered(platform, "b") as bob:
        assert [await said(anna), await said(bob)] == ["1 here", "1 here"]
        async with entered(platform, "a") as carl:
            assert [await said(anna), await said(carl)] == ["2 here", "2 here"]
            await anna.send(frame(TEXT, b"hello"))
            assert [await said(anna), await said(carl)] == ["hello", "hello"]
        await bob.send(frame(PING, b"alone?"))
        assert await said(bob) == "alone?"


async def test_the_closing_handshake_is_the_containers(platform: Platform) -> None:
    with await Socket.open(platform.address, headers=(("X-Session-ID", "a"),)) as anna:
        assert await said(anna) == "1 here"
        await anna.send(close(4000, b"bye"))
        (greeting, last), rest, _ = await anna.rest()
        assert (greeting.payload, last.close_code, last.payload[2:], rest) == (b"1 here", 4000, b"bye", b"")


async def test_a_request_that_is_no_websocket_gets_a_400(platform: Platform) -> None:
    answer = await get(platform.address, "/", {"X-Session-ID": "a"})
    assert (answer.status, answer.text()) == (400, "Not a WebSocket request")
