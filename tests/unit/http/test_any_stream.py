"""However the bytes are cut and whatever the fields are, the outcome is the same."""

from __future__ import annotations

import asyncio

import httptools
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorings.clock import SystemClock
from moorings.errors import MooringsError
from moorings.http import Debug, Headers, HttpServer, Request, Response, problem_response
from moorings.http.body import BodyStream
from moorings.http.framing import ChunkedReader
from moorings.observer import NullObserver
from tests.unit.http.test_malformed_requests import MALFORMED

TOKEN = st.text("!#$%&'*+-.^_`|~abcXYZ019", min_size=1, max_size=20)
VALUE = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]) | st.just("\t"), max_size=40).map(
    lambda value: value.strip(" \t")
)
RESERVED = frozenset(
    [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "te",
        "trailer",
        "date",
        "content-type",
        "keep-alive",
        "proxy-connection",
        "content_length",
        "transfer_encoding",
        "http2-settings",
    ]
)
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in RESERVED), VALUE), max_size=20)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4000)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


async def _talk(pieces: list[bytes]) -> tuple[bytes, list[tuple[str, bytes, list[tuple[str, str]], bytes]]]:
    """What a server answers to these reads, and what its handler saw."""
    from moorings.http.server_connection import ServerConnection

    seen = []

    async def handler(request: Request) -> Response:
        body = await request.bytes()
        seen.append((request.method, request.target, request.headers.items(), body))
        return Response(body, headers={"Date": "x"})

    server = HttpServer(
        handler,
        on_error=lambda request, error: problem_response(error, debug=Debug.OFF, headers_date="x"),
        clock=SystemClock(),
        observer=NullObserver(),
    )
    connection = ServerConnection(server, asyncio.get_running_loop())
    wire = Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    for _ in range(30):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await server.close()
    return wire.written, seen


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a != b]


def without_dates(data: bytes) -> bytes:
    import re

    return re.sub(rb"Date: [^\r]*\r\n", b"", data)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(FIELDS, st.binary(max_size=300), st.integers(1, 50), st.lists(st.integers(0, 5000), max_size=30))
def test_any_split_of_good_requests_gives_the_same_answers(
    fields: list[tuple[str, str]], body: bytes, chunk: int, cuts: list[int]
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
    chunks = [body[n : n + chunk] for n in range(0, len(body), chunk)]
    data = (
        b"GET /1 HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"
        b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
        + b"PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%X\r\n%b\r\n" % (len(c), c) for c in chunks)
        + b"0\r\n\r\n"
        + b"GET /4 HTTP/1.1\r\nHost: a\r\n"
        + lines
        + b"\r\n"
    )
    whole, seen = asyncio.run(_talk([data]))
    assert [(method, target, read) for method, target, _, read in seen] == [
        ("GET", b"/1", b""),
        ("POST", b"/2", body),
        ("PUT", b"/3", body),
        ("GET", b"/4", b""),
    ]
    assert seen[0][2][1:] == fields
    pieces, seen_in_pieces = asyncio.run(_talk(cut(data, cuts)))
    assert (pieces, seen_in_pieces) == (whole, seen)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([name for name, text in MALFORMED.items() if len(text) < 2000 and "chunk" not in name]),
    st.lists(st.integers(0, 1000), max_size=10),
)
def test_any_split_of_a_malformed_request_is_refused(name: str, cuts: list[int]) -> None:
    data = MALFORMED[name].encode("latin-1")
    answer, seen = asyncio.run(_talk(cut(data, cuts)))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 431 ", b"HTTP/1.1 417 "))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert seen in ([], [seen[0]] if "trailer" in name and seen else [])


class _Source:
    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...

    def body_wanted(self) -> None: ...

    def body_dropped(self) -> None: ...


def read_chunks(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The data, and what was left after the end; None where there is none."""
    reader, stream = ChunkedReader(), BodyStream(_Source(), -1)
    rest = None
    for piece in pieces:
        if rest is None:
            rest = reader.take(piece, stream)
        else:
            rest += piece
    return b"".join(stream._chunks), rest


PIECE = st.sampled_from(
    [
        b"0",
        b"1",
        b"5",
        b"a",
        b"F",
        b"\r",
        b"\n",
        b"\r\n",
        b";",
        b"x=y",
        b'="q"',
        b" ",
        b"\0",
        b"hello",
        b"0\r\n\r\n",
        b"T: u\r\n",
    ]
)


@settings(deadline=None, max_examples=1000)
@given(st.lists(PIECE, max_size=20).map(b"".join), st.lists(st.integers(0, 100), max_size=10))
def test_chunk_reader_takes_nothing_that_llhttp_refuses_and_does_not_mind_splits(data: bytes, cuts: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> tuple[bytes, bytes | None] | None:
        try:
            return read_chunks(pieces)
        except MooringsError:
            return None

    ours = outcome([data])
    in_pieces = outcome(cut(data, cuts))
    if ours is not None and ours[1] is not None:
        assert in_pieces == ours
    elif in_pieces is not None:
        assert in_pieces[1] is None
    if ours is None or ours[1] is None:
        return

    class Told:
        body = b""
        complete = False

        def on_body(self, chunk: bytes) -> None:
            self.body += chunk

        def on_message_complete(self) -> None:
            self.complete = True

    told = Told()
    message = data[: len(data) - len(ours[1])]
    parser = httptools.HttpRequestParser(told)
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + message)
    assert (told.complete, told.body) == (True, ours[0])


@given(FIELDS)
def test_any_fields_that_can_be_set_come_back_the_same(fields: list[tuple[str, str]]) -> None:
    headers = Headers(fields)
    assert headers.items() == fields
    assert Headers(headers) == headers
    for name, _ in fields:
        assert headers[name.upper()] == next(value for key, value in fields if key.lower() == name.lower())
        assert headers.getall(name) == [value for key, value in fields if key.lower() == name.lower()]
