"""Request and Response as a worker uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from yarl import URL

from moorings import Request, Response
from moorings.errors import BodyUsed


async def chunks() -> AsyncIterator[bytes]:
    yield b"ab"
    yield "ä".encode()


async def test_a_request_has_url_method_and_headers() -> None:
    request = Request("http://example.com/a?b=c", method="post", headers={"X-Test": "1"}, json={"a": [1]})
    assert isinstance(request.url, URL)
    assert (request.url.path, request.url.query["b"]) == ("/a", "c")
    assert request.method == "POST"
    assert request.headers["x-test"] == "1"
    assert request.headers["Content-Type"] == "application/json"
    assert await request.json() == {"a": [1]}


async def test_headers_are_a_case_insensitive_multidict() -> None:
    headers = Response(headers=[("Set-Cookie", "a=1"), ("set-cookie", "b=2")]).headers
    assert headers.getall("SET-COOKIE") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "made", [lambda: Response("abä"), lambda: Response("abä".encode()), lambda: Response(chunks())]
)
async def test_a_body_is_read_as_text_bytes_or_piece_by_piece(made: Callable[[], Response]) -> None:
    assert await made().text() == "abä"
    assert await made().bytes() == "abä".encode()
    pieces = made().body
    assert pieces is not None
    assert b"".join([chunk async for chunk in pieces]) == "abä".encode()


async def test_a_body_can_be_read_once() -> None:
    response = Response(chunks())
    assert [response.body_used, await response.text(), response.body_used] == [False, "abä", True]
    with pytest.raises(BodyUsed, match="already been read"):
        await response.bytes()


async def test_a_body_made_of_pieces_is_not_gathered_before_it_is_read() -> None:
    made: list[int] = []

    async def counted() -> AsyncIterator[bytes]:
        for number in range(3):
            made.append(number)
            yield b"x"

    body = Response(counted()).body
    assert body is not None
    assert made == []
    await anext(body)
    assert made == [0]


async def test_responses_are_made_with_status_and_headers() -> None:
    response = Response("made", status=201, headers={"X-Test": "1"})
    assert (response.status, response.ok, response.headers["X-Test"]) == (201, True, "1")
    assert not Response(status=404).ok
    assert Response("text").headers["Content-Type"] == "text/plain;charset=UTF-8"


async def test_json_and_redirect_make_responses() -> None:
    response = Response.json({"a": 1}, status=202)
    assert (response.status, response.headers["Content-Type"]) == (202, "application/json")
    assert await response.json() == {"a": 1}
    moved = Response.redirect("https://example.com/x", 301)
    assert (moved.status, moved.headers["Location"]) == (301, "https://example.com/x")
    with pytest.raises(ValueError, match="200"):
        Response.redirect("/", 200)


async def test_the_signal_is_set_once_the_client_has_gone() -> None:
    request = Request("http://container/")
    before = request.signal.aborted
    request.signal.fire()
    await request.signal.wait()
    assert [before, request.signal.aborted] == [False, True]


async def test_a_copied_request_keeps_what_is_not_replaced() -> None:
    first = Request("http://container/a", method="PUT", headers={"X-Test": "1"}, body="body")
    second = Request(first, headers={"X-Other": "2"})
    assert (second.method, str(second.url), await second.text()) == ("PUT", "http://container/a", "body")
    assert "X-Test" not in second.headers
    assert first.body_used
