"""Nothing malformed or ambiguous reaches a handler; the client sees why, and the connection ends."""

from __future__ import annotations

import asyncio

import pytest

from moorings.http import Limits, Request, Response
from tests.unit.http.wire import dialled, served, until

H = "Host: a\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

MALFORMED = {
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": f"GET / HTTP/1.1\r\n{H}Host: b\r\n\r\n",
    "the same host twice": f"GET / HTTP/1.1\r\n{H}{H}\r\n",
    "empty host": "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "host with userinfo": "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "host with a path": "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with a space": "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with two values": "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with a bad port": "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    "host with a bad address": "GET / HTTP/1.1\r\nHost: [::::]\r\n\r\n",
    "length and chunked": f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\n{CHUNKED}\r\n0\r\n\r\n{SMUGGLED}",
    "chunked and length": f"POST / HTTP/1.1\r\n{H}{CHUNKED}Content-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "two lengths": f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": f"POST / HTTP/1.1\r\n{H}Content-Length: 5, 5\r\n\r\nhello",
    "plus length": f"POST / HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello",
    "negative length": f"POST / HTTP/1.1\r\n{H}Content-Length: -5\r\n\r\nhello",
    "hexadecimal length": f"POST / HTTP/1.1\r\n{H}Content-Length: 0x5\r\n\r\nhello",
    "empty length": f"POST / HTTP/1.1\r\n{H}Content-Length:\r\n\r\nhello",
    "length with a space inside": f"POST / HTTP/1.1\r\n{H}Content-Length: 1 0\r\n\r\nhello",
    "huge length": f"POST / HTTP/1.1\r\n{H}Content-Length: 99999999999999999999999\r\n\r\nhello",
    "underscored length": f"POST / HTTP/1.1\r\n{H}Content_Length: 5\r\n\r\nhello",
    "underscored coding": f"POST / HTTP/1.1\r\n{H}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": f"POST / HTTP/1.1\r\n{H}{CHUNKED}{CHUNKED}\r\n0\r\n\r\n",
    "unknown coding": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip coding": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity coding": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: identity\r\n\r\n",
    "empty coding": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding:\r\n\r\n",
    "coding with vertical tab": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding with space before colon": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "coding folded": f"POST / HTTP/1.1\r\n{H}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "http 1.0 with a coding": f"POST / HTTP/1.0\r\n{H}{CHUNKED}\r\n0\r\n\r\n",
    "chunk size not hexadecimal": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\nzz\r\nhello\r\n0\r\n\r\n",
    "chunk size with 0x": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size negative": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n-5\r\nhello\r\n0\r\n\r\n",
    "chunk size too large": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n{'f' * 17}\r\nhello\r\n0\r\n\r\n",
    "chunk size empty": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n\r\nhello\r\n0\r\n\r\n",
    "chunk size ended by lf": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n5\nhello\r\n0\r\n\r\n",
    "chunk size with a trailing space": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n5 \r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n4\r\nhello\r\n0\r\n\r\n",
    "chunk ended by lf": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n5\r\nhello\n0\r\n\r\n",
    "chunk extension endless": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n5;{'a' * 5000}\r\nhello\r\n0\r\n\r\n",
    "chunk extensions many": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n" + f"1;{'a' * 900}\r\nx\r\n" * 20 + "0\r\n\r\n",
    "chunk extension with lf": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
    "trailer with lf": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n0\r\nA: b\n\r\n\r\n",
    "trailer folded": f"POST / HTTP/1.1\r\n{H}{CHUNKED}\r\n0\r\nA: b\r\n c\r\n\r\n",
    "bare lf as line end": "GET / HTTP/1.1\nHost: a\n\n",
    "bare lf in a field": f"GET / HTTP/1.1\r\n{H}A: b\nC: d\r\n\r\n",
    "bare cr in a field": f"GET / HTTP/1.1\r\n{H}A: b\rC: d\r\n\r\n",
    "bare cr as line end": "GET / HTTP/1.1\rHost: a\r\r",
    "nul in a field": f"GET / HTTP/1.1\r\n{H}A: b\0c\r\n\r\n",
    "nul in a name": f"GET / HTTP/1.1\r\n{H}A\0: b\r\n\r\n",
    "control byte in a field": f"GET / HTTP/1.1\r\n{H}A: b\x01c\r\n\r\n",
    "delete in a field": f"GET / HTTP/1.1\r\n{H}A: b\x7fc\r\n\r\n",
    "folded field": f"GET / HTTP/1.1\r\n{H}A: b\r\n c\r\n\r\n",
    "folded with a tab": f"GET / HTTP/1.1\r\n{H}A: b\r\n\tc\r\n\r\n",
    "space before the first field": f"GET / HTTP/1.1\r\n {H}\r\n",
    "space before colon": "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "tab before colon": f"GET / HTTP/1.1\r\n{H}A\t: b\r\n\r\n",
    "no colon": f"GET / HTTP/1.1\r\n{H}nonsense\r\n\r\n",
    "empty name": f"GET / HTTP/1.1\r\n{H}: b\r\n\r\n",
    "name with brackets": f"GET / HTTP/1.1\r\n{H}A(b): c\r\n\r\n",
    "name with high bytes": f"GET / HTTP/1.1\r\n{H}\xe4: c\r\n\r\n",
    "unknown method": f"FOO / HTTP/1.1\r\n{H}\r\n",
    "method in lower case": f"get / HTTP/1.1\r\n{H}\r\n",
    "method with brackets": f"GE(T / HTTP/1.1\r\n{H}\r\n",
    "connect": "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "connect with a path": f"CONNECT / HTTP/1.1\r\n{H}\r\n",
    "no target": f"GET  HTTP/1.1\r\n{H}\r\n",
    "two spaces": f"GET  / HTTP/1.1\r\n{H}\r\n",
    "tab in the line": f"GET\t/ HTTP/1.1\r\n{H}\r\n",
    "target with a space": f"GET /a b HTTP/1.1\r\n{H}\r\n",
    "target with a fragment": f"GET /a#b HTTP/1.1\r\n{H}\r\n",
    "target with high bytes": f"GET /\xe4 HTTP/1.1\r\n{H}\r\n",
    "target without slash": f"GET a HTTP/1.1\r\n{H}\r\n",
    "asterisk with get": f"GET * HTTP/1.1\r\n{H}\r\n",
    "other scheme": f"GET ftp://a/ HTTP/1.1\r\n{H}\r\n",
    "absolute with userinfo": f"GET http://u@a/ HTTP/1.1\r\n{H}\r\n",
    "absolute with another host": f"GET http://b/ HTTP/1.1\r\n{H}\r\n",
    "absolute without host": f"GET http:/// HTTP/1.1\r\n{H}\r\n",
    "http 2": f"GET / HTTP/2.0\r\n{H}\r\n",
    "http 1.2": f"GET / HTTP/1.2\r\n{H}\r\n",
    "http 0.9": "GET /\r\n\r\n",
    "http in lower case": f"GET / http/1.1\r\n{H}\r\n",
    "version with more digits": f"GET / HTTP/1.10\r\n{H}\r\n",
    "tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "many empty lines": f"\r\n\r\n\r\nGET / HTTP/1.1\r\n{H}\r\n",
    "head too large": f"GET / HTTP/1.1\r\n{H}A: {'b' * 70000}\r\n\r\n",
    "endless head": f"GET / HTTP/1.1\r\n{H}A: {'b' * 70000}",
    "line too long": f"GET /{'a' * 70000} HTTP/1.1\r\n{H}\r\n",
    "too many fields": f"GET / HTTP/1.1\r\n{H}{''.join(f'A{n}: b{chr(13)}{chr(10)}' for n in range(200))}\r\n",
    "unknown expectation": f"POST / HTTP/1.1\r\n{H}Expect: tea\r\nContent-Length: 1\r\n\r\nx",
}


async def answer_ok(request: Request) -> Response:
    return Response("ok")


def status_of(raw: bytes) -> int:
    assert raw.startswith(b"HTTP/1.1 "), raw
    return int(raw[9:12])


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_refused_and_its_connection_closed(name: str) -> None:
    async with served(answer_ok) as s, dialled(s.port) as client:
        await client.send(MALFORMED[name].encode("latin-1"))
        raw = await client.rest()
    assert status_of(raw) in (400, 413, 417, 431, 501)
    assert raw.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in raw
    assert s.requests == []


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_after_a_good_one_is_refused_in_order(name: str) -> None:
    async with served(answer_ok) as s, dialled(s.port) as client:
        await client.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + MALFORMED[name].encode("latin-1"))
        raw = await client.rest()
    answers = raw.split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) == 200 for answer in answers] == [True, False]
    assert [request.target for request in s.requests] == [b"/first"]


SHORT = [name for name in MALFORMED if "chunk" not in name and "trailer" not in name and len(MALFORMED[name]) < 2000]


@pytest.mark.parametrize("name", SHORT)
async def test_malformed_request_is_refused_when_it_comes_byte_by_byte(name: str) -> None:
    data = MALFORMED[name].encode("latin-1")
    async with served(answer_ok) as s, dialled(s.port) as client:
        for n in range(len(data)):
            try:
                await client.send(data[n : n + 1])
            except ConnectionError:
                break
            await asyncio.sleep(0)
        raw = await client.rest()
    assert status_of(raw) in (400, 413, 417, 431, 501)
    assert s.requests == []


async def test_bytes_after_a_connection_close_request_are_ignored() -> None:
    async with served(answer_ok) as s, dialled(s.port) as client:
        await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + SMUGGLED.encode())
        raw = await client.rest()
    assert raw.count(b"HTTP/1.1 200") == 1
    assert [request.target for request in s.requests] == [b"/1"]


async def test_body_over_the_limit_is_refused_before_the_handler() -> None:
    async with served(answer_ok, limits=Limits(body=10)) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        assert status_of(await client.rest()) == 413
    assert s.requests == []


async def test_chunked_body_over_the_limit_fails_where_it_is_read() -> None:
    async def read(request: Request) -> Response:
        return Response(await request.bytes())

    async with served(read, limits=Limits(body=10)) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await client.send(b"6\r\nworld!\r\n0\r\n\r\n")
        raw = await client.rest()
    assert status_of(raw) == 413
    assert b"Connection: close" in raw
    assert len(s.requests) <= 1


async def test_malformed_chunk_later_in_the_body_fails_where_it_is_read() -> None:
    async def read(request: Request) -> Response:
        return Response(await request.bytes())

    async with served(read) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await until(lambda: bool(s.requests))
        await client.send(b"zz\r\n" + SMUGGLED.encode())
        raw = await client.rest()
    assert status_of(raw) == 400
    assert len(s.requests) == 1


async def test_client_that_goes_on_sending_after_an_error_still_sees_the_answer() -> None:
    async with served(answer_ok) as s, dialled(s.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        await client.send(b"x" * 1_000_000)
        raw = await client.rest()
    assert status_of(raw) == 400
    assert s.requests == []
