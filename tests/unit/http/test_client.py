"""fetch: requests to the outside."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moorings.clock import ManualClock, SystemClock
from moorings.errors import ConnectFailed, UpstreamError, UpstreamTimeout
from moorings.http import HttpClient, Redirects, Request, Response
from tests.unit.http.wire import request_head, served, until, upstream

PEM = Path(__file__).with_name("localhost.pem")


@asynccontextmanager
async def client() -> AsyncIterator[HttpClient]:
    http = HttpClient(clock=SystemClock())
    try:
        yield http
    finally:
        await http.close()


async def mirror(request: Request) -> Response:
    if request.url.path == "/redirect":
        return Response.redirect(request.url.query.get("to", "/"), int(request.url.query.get("status", "302")))
    told = {name.lower(): value for name, value in request.headers.items()}
    return Response.json([request.method, request.url.path_qs, told, await request.text()])


async def test_fetch_sends_method_headers_and_body_and_keeps_the_connection() -> None:
    async with served(mirror) as s, client() as http:
        for _ in range(3):
            answer = await http.fetch(
                f"http://127.0.0.1:{s.port}/a?b=c", method="put", headers={"X-A": "1"}, json={"d": 2}
            )
            method, path, headers, body = await answer.json()
            assert (method, path, body) == ("PUT", "/a?b=c", '{"d":2}')
            assert headers["x-a"] == "1"
            assert headers["content-type"] == "application/json"
            assert headers["content-length"] == "7"
            assert headers["host"] == f"127.0.0.1:{s.port}"
            assert "accept-encoding" not in headers
            assert "x-forwarded-for" not in headers
        assert len(s.server.connections) == 1


async def test_fetch_over_tls_checks_the_certificate() -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(PEM)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    trusting = HttpClient(clock=SystemClock(), tls=ssl.create_default_context(cafile=str(PEM)))
    for _ in range(2):
        assert await (await trusting.fetch(f"https://127.0.0.1:{port}/")).text() == "secret"
    await trusting.close()
    async with client() as http:
        with pytest.raises(ConnectFailed):
            await http.fetch(f"https://127.0.0.1:{port}/")
    server.close()


async def test_redirects_are_answers_unless_they_are_to_be_followed() -> None:
    async with served(mirror) as s, client() as http:
        url = f"http://127.0.0.1:{s.port}/redirect?to=/there"
        manual = await http.fetch(url)
        assert (manual.status, manual.headers["location"]) == (302, "/there")
        followed = await http.fetch(url, redirects=Redirects.FOLLOW)
        assert (await followed.json())[1] == "/there"


@pytest.mark.parametrize(
    ("status", "expected"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
)
async def test_followed_post_becomes_get_where_the_fetch_standard_says_so(status: int, expected: str) -> None:
    async with served(mirror) as s, client() as http:
        url = f"http://127.0.0.1:{s.port}/redirect?to=/there&status={status}"
        answer = await http.fetch(url, method="POST", body="text", redirects=Redirects.FOLLOW)
        method, _, headers, body = await answer.json()
        assert (method, body, "content-type" in headers) == (
            expected,
            "text" * (expected == "POST"),
            expected == "POST",
        )


async def test_credentials_stay_with_their_origin() -> None:
    async with served(mirror) as here, served(mirror) as there, client() as http:
        url = f"http://127.0.0.1:{here.port}/redirect?to=http://127.0.0.1:{there.port}/x"
        secret = {"Authorization": "a", "Cookie": "b", "X-Kept": "c"}
        answer = await http.fetch(url, headers=secret, redirects=Redirects.FOLLOW)
        headers = (await answer.json())[2]
        assert ("authorization" in headers, "cookie" in headers, headers["x-kept"]) == (False, False, "c")
        assert headers["host"] == f"127.0.0.1:{there.port}"


async def test_endless_redirects_end_and_a_streamed_body_is_not_sent_twice() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"

    async with served(mirror) as s, client() as http:
        url = f"http://127.0.0.1:{s.port}/redirect?status=307&to=/redirect%3Fto%3D/redirect"
        loop = f"http://127.0.0.1:{s.port}/redirect?to=/loop"
        assert (await http.fetch(loop)).status == 302
        with pytest.raises(UpstreamError, match="streamed"):
            await http.fetch(url, method="POST", body=parts(), redirects=Redirects.FOLLOW)


async def test_more_than_twenty_redirects_are_an_error() -> None:
    async def loop(request: Request) -> Response:
        return Response.redirect("/again")

    async with served(loop) as s, client() as http:
        with pytest.raises(UpstreamError, match="redirects"):
            await http.fetch(f"http://127.0.0.1:{s.port}/", redirects=Redirects.FOLLOW)
        assert len(s.requests) == 21


async def test_answer_that_takes_too_long_is_a_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await reader.read()

    clock = ManualClock()
    async with upstream(silent) as behind:
        http = HttpClient(clock=clock)
        task = asyncio.ensure_future(http.fetch(f"http://127.0.0.1:{behind.port}/", timeout=5))
        await until(lambda: behind.connections == 1)
        await clock.advance(6)
        with pytest.raises(UpstreamTimeout) as caught:
            await task
        assert isinstance(caught.value, TimeoutError)
        await until(lambda: behind.closed == 1)
        await http.close()


async def test_answer_dropped_unread_closes_its_connection() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async with upstream(endless) as behind, client() as http:
        answer: Response | None = await http.fetch(f"http://127.0.0.1:{behind.port}/")
        assert answer is not None
        answer = None
        await asyncio.sleep(0)
        gc.collect()
        await until(lambda: behind.closed == 1)


@pytest.mark.parametrize("url", ["ftp://a/", "/relative", "http:///x"])
async def test_other_urls_are_refused(url: str) -> None:
    async with client() as http:
        with pytest.raises(ValueError, match=r"URL|url|host"):
            await http.fetch(url)
