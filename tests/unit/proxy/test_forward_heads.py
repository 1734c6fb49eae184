"""The head that reaches the container, and the one that comes back."""

from __future__ import annotations

import pytest

from moorings.clock import SystemClock
from moorings.http import Request, Response
from moorings.proxy import UpstreamPool, forward
from tests.unit.http.wire import dialled, get, served, upstream
from tests.unit.proxy.proxied import OK, answering, proxied


async def seen_head(request: bytes, *, trusted: tuple[str, ...] = ()) -> list[str]:
    """The head that reaches the upstream, as lines."""
    heads: list[bytes] = []
    async with proxied(answering(OK, heads), trusted=trusted) as p, dialled(p.front.port) as client:
        assert (await client.ask(request)).status == 200
    return heads[0].decode("latin-1").split("\r\n")[:-2]


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


@pytest.mark.parametrize("whole", [True, False], ids=["in one piece", "streamed"])
@pytest.mark.parametrize("status", [404, 204])
async def test_the_status_of_a_response_can_be_changed_by_the_worker(status: int, whole: bool) -> None:
    size = 2 if whole else 300_000
    async with upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))) as behind:
        pool = UpstreamPool("127.0.0.1", behind.port, clock=SystemClock())

        async def handler(request: Request) -> Response:
            response = await forward(request, pool)
            response.status = status
            return response

        async with served(handler) as s, dialled(s.port) as client:
            for _ in range(2):
                answer = await client.ask(get())
                assert (answer.status, len(answer.body)) == (status, 0 if status == 204 else size)
        pool.abort()


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
