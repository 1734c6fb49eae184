"""Valid requests that few clients send pass, and reach the container as they were meant."""

from __future__ import annotations

import pytest

from tests.integration.malformed.case import HOST
from tests.integration.malformed.unusual import UNUSUAL, Unusual
from tests.support.raw import Address, Connection, Ending, Framing, chunked, exchange, request


def headers_of(seen: dict[str, list[list[str]]]) -> dict[str, str]:
    return {name.lower(): value for name, value in seen["headers"]}


@pytest.mark.parametrize("piece", [None, 7], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", UNUSUAL, ids=lambda case: case.name)
async def test_a_valid_request_reaches_the_container_as_it_was_meant(
    recorder: Address, case: Unusual, piece: int | None
) -> None:
    with await Connection.open(recorder) as connection:
        await connection.offer(case.data, piece=piece)
        answer = await connection.receive(case.method)
        assert connection.surplus == b""
    assert answer.status == 200, answer
    seen = answer.json()
    assert (seen["method"], seen["target"], seen["body"]) == (case.method, case.target, case.body)
    headers = headers_of(seen)
    assert {name: headers.get(name) for name in case.has} == case.has
    assert not set(case.lacks) & set(headers)
    assert seen["trailers"] == case.trailers


async def test_an_absolute_target_outranks_the_host_header(recorder: Address) -> None:
    """RFC 9112, 3.2.2: the Host received is ignored, or the request refused; the two never reach anybody together."""
    with await Connection.open(recorder) as connection:
        await connection.send(b"GET http://right.example/ HTTP/1.1\r\nHost: wrong.example\r\n\r\n")
        answer = await connection.receive()
        if answer.status == 400:
            assert await connection.ending() is not Ending.OPEN
        else:
            headers = headers_of(answer.json())
            assert (headers["host"], headers["x-forwarded-host"]) == ("right.example", "right.example")


async def test_pipelined_requests_are_answered_in_order(recorder: Address) -> None:
    with await Connection.open(recorder) as connection:
        data = b""
        for number in range(20):
            if number % 3 == 0:
                data += request("GET", f"/echo/{number}")
            elif number % 3 == 1:
                data += request("POST", f"/headers/{number}", body=b"x" * number)
            else:
                data += request("POST", f"/headers/{number}", [("Transfer-Encoding", "chunked")]) + chunked([b"abc"])
        await connection.send(data)
        for number in range(20):
            answer = await connection.receive()
            assert answer.status == 200
            if number % 3:
                assert answer.json()["target"] == f"/headers/{number}"


async def test_expect_100_continue_is_answered_before_the_body_is_sent(recorder: Address) -> None:
    with await Connection.open(recorder) as connection:
        await connection.send(request("POST", "/echo", [("Expect", "100-continue"), ("Content-Length", "5")]))
        assert (await connection.receive_interim()).status == 100
        await connection.send(b"hello")
        assert (await connection.receive("POST")).body == b"hello"


async def test_the_answer_to_http_1_0_is_not_chunked_and_ends_with_the_connection(recorder: Address) -> None:
    with await Connection.open(recorder) as connection:
        await connection.send(b"GET /stream?chunks=5&size=1000 HTTP/1.0\r\n" + HOST + b"\r\n")
        answer = await connection.receive()
        assert answer.head.framing is Framing.CLOSE
        assert len(answer.body) == 5000
        assert await connection.ending() is Ending.CLOSED


async def test_trailers_of_an_answer_are_forwarded(recorder: Address) -> None:
    answer = await exchange(recorder, request("GET", "/stream?chunks=4&size=10", [("TE", "trailers")]))
    assert answer.trailers == (("X-Chunks", "4"),)


async def test_an_answer_to_head_has_the_length_and_no_body(recorder: Address) -> None:
    with await Connection.open(recorder) as connection:
        await connection.send(request("HEAD", "/echo") + request("GET", "/pid"))
        head = await connection.receive("HEAD")
        assert (head.body, head.header("content-length")) == (b"", "0")
        assert (await connection.receive()).status == 200
