"""What a server must make of frames, section by section of RFC 9113 and of RFC 7541; the titles are those of h2spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.http2 import (
    ACK,
    COMPRESSION,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    GET,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    PADDED,
    PING,
    POST,
    PRIORITY,
    PROTOCOL,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    block,
    data,
    frame,
    get,
    headers,
    integer,
    post,
    reset,
    settings,
    window_update,
)

MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Case:
    """Frames to send after the handshake, and what follows.

    ``answers`` are streams that are answered with 200; ``resets`` streams that are reset, with what; ``ends`` are the
    error codes of the GOAWAY that ends the connection, empty where it goes on.
    """

    section: str
    name: str
    sent: bytes
    answers: tuple[int, ...] = ()
    resets: dict[int, int] = field(default_factory=dict)
    ends: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.section} {self.name}"


def fine(section: str, name: str, sent: bytes, *answers: int) -> Case:
    return Case(section, name, sent, answers or (1,))


def ignored(section: str, name: str, sent: bytes) -> Case:
    return Case(section, name, sent)


def stream_error(section: str, name: str, sent: bytes, code: int = PROTOCOL, *, stream: int = 1) -> Case:
    return Case(section, name, sent, resets={stream: code})


def connection_error(section: str, name: str, sent: bytes, *codes: int) -> Case:
    return Case(section, name, sent, ends=codes or (PROTOCOL,))


def priority(stream: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, depends_on.to_bytes(4, "big") + bytes((weight,)))


def without(name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(pair for pair in GET if pair[0] != name)


def replaced(name: bytes, value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((key, value if key == name else old) for key, old in GET)


OPEN = headers(flags=END_HEADERS, fields=POST)
BEGUN = frame(HEADERS, END_STREAM, 1, block(GET)[:5])
REST = block(GET)[5:]


def generic() -> Iterator[Case]:
    yield fine("2", "PRIORITY on an idle stream", priority(1) + get())
    yield fine("2", "WINDOW_UPDATE on a half-closed (remote) stream", get() + window_update(1, 100))
    yield fine("2", "PRIORITY on a half-closed (remote) stream", get() + priority(1))
    yield ignored("2", "RST_STREAM on a half-closed (remote) stream", get() + reset(1))
    yield fine("3.1", "DATA", post() + data(1, b"test"))
    yield fine("3.1", "multiple DATA", post() + data(1, b"test", 0) + data(1, b"test"))
    yield fine("3.1", "DATA with padding", post() + frame(DATA, PADDED | END_STREAM, 1, b"\6test" + bytes(6)))
    yield fine("3.1", "DATA that is all padding", post() + frame(DATA, PADDED | END_STREAM, 1, b"\6" + bytes(6)))
    yield fine("3.2", "HEADERS", get())
    padded = bytes((6,)) + block(GET) + bytes(6)
    yield fine("3.2", "HEADERS with padding", frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, padded))
    flags = WITH_PRIORITY | END_STREAM | END_HEADERS
    yield fine("3.2", "HEADERS with priority", frame(HEADERS, flags, 1, b"\0\0\0\0\xff" + block(GET)))
    yield fine("3.3", "PRIORITY with priority 1", priority(1, weight=0) + get())
    yield fine("3.3", "PRIORITY with priority 256", priority(1, weight=255) + get())
    yield fine("3.3", "PRIORITY with stream dependency", priority(5, 3) + get())
    yield fine("3.3", "PRIORITY with exclusive", priority(5, 0x80000003) + get())
    yield fine("3.3", "PRIORITY for an idle stream, then HEADERS for a lower one", priority(5) + get(3), 3)
    yield ignored("3.4", "RST_STREAM", post() + reset(1))
    yield fine("3.5", "SETTINGS", settings((INITIAL_WINDOW, 100)) + get())
    yield ignored("3.7", "PING", frame(PING, payload=b"h2spec\0\0"))
    yield fine("3.8", "GOAWAY, then the stream that was open ends", get() + frame(GOAWAY, payload=bytes(8)))
    yield fine("3.9", "WINDOW_UPDATE with stream 0", window_update(0, 1) + get())
    yield fine("3.9", "WINDOW_UPDATE with stream 1", post() + window_update(1, 1) + data(1))
    yield fine("3.10", "CONTINUATION", BEGUN + frame(CONTINUATION, END_HEADERS, 1, REST))
    pieces = [REST[at : at + 5] for at in range(0, len(REST), 5)]
    many = b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[:-1])
    yield fine("3.10", "multiple CONTINUATION", BEGUN + many + frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
    yield fine("4", "GET", get())
    yield fine("4", "HEAD", headers(fields=replaced(b":method", b"HEAD")))
    yield fine("4", "POST", post() + data(1, b"test"))
    yield fine("4", "POST with trailers", post() + data(1, b"test", 0) + headers(1, [(b"x-test", b"ok")]))
    yield fine("4", "three streams at once", get(1) + get(3) + get(5), 1, 3, 5)


def preface_and_frames() -> Iterator[Case]:
    yield fine("4.1", "a frame of unknown type", frame(0x16, 0, 0, bytes(8)) + get())
    yield fine("4.1", "a frame with undefined flags", frame(PING, 0x16, 0, bytes(8)) + get())
    yield fine("4.1", "a frame with its reserved bit", frame(PING, 0, 1 << 31, bytes(8)) + get())
    yield fine("4.2", "DATA of 2^14 octets", post() + data(1, bytes(1 << 14)))
    large = bytes((1 << 14) + 1)
    yield connection_error("4.2", "DATA over SETTINGS_MAX_FRAME_SIZE", post() + data(1, large), FRAME_SIZE)
    yield connection_error("4.2", "HEADERS over SETTINGS_MAX_FRAME_SIZE", frame(HEADERS, 5, 1, large), FRAME_SIZE)
    bad = frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x40\1")
    yield connection_error("4.3", "an invalid field block fragment", bad, COMPRESSION)
    yield connection_error("4.3", "PRIORITY inside a field block", BEGUN + priority(1))
    yield connection_error("4.3", "HEADERS of another stream inside a field block", BEGUN + get(3))


def states() -> Iterator[Case]:
    naked = frame(CONTINUATION, END_HEADERS, 1, block(GET))
    yield connection_error("5.1", "idle: DATA", data(1, b"test"))
    yield connection_error("5.1", "idle: RST_STREAM", reset(1))
    yield connection_error("5.1", "idle: WINDOW_UPDATE", window_update(1, 100))
    yield connection_error("5.1", "idle: CONTINUATION", naked)
    slow = get(1, b"/wait")
    yield stream_error("5.1", "half closed (remote): DATA", slow + data(1, b"test"), STREAM_CLOSED)
    yield stream_error("5.1", "half closed (remote): HEADERS", slow + get(1), STREAM_CLOSED)
    yield connection_error("5.1", "half closed (remote): CONTINUATION", slow + naked, PROTOCOL, STREAM_CLOSED)
    yield stream_error("5.1", "closed: DATA after RST_STREAM", post() + reset(1) + data(1, b"x"), STREAM_CLOSED)
    yield stream_error("5.1", "closed: HEADERS after RST_STREAM", post() + reset(1) + get(1), STREAM_CLOSED)
    yield connection_error(
        "5.1", "closed: CONTINUATION after RST_STREAM", post() + reset(1) + naked, PROTOCOL, STREAM_CLOSED
    )
    yield ignored("5.1", "closed: RST_STREAM and WINDOW_UPDATE", post() + reset(1) + reset(1) + window_update(1, 9))
    yield ignored("5.1", "closed: PRIORITY", post() + reset(1) + priority(1))
    yield connection_error("5.1.1", "an even stream identifier", get(2))
    yield connection_error("5.1.1", "a smaller stream identifier", get(5, b"/wait") + get(3))
    yield ignored("5.1.1", "PRIORITY of an even stream", priority(2))
    itself = WITH_PRIORITY | END_STREAM | END_HEADERS
    yield stream_error(
        "5.3.1", "HEADERS that depends on itself", frame(HEADERS, itself, 1, b"\0\0\0\1\xff" + block(GET))
    )
    yield connection_error("5.3.1", "PRIORITY that depends on itself", priority(1, 1))
    yield connection_error("5.4.1", "an invalid PING ends the connection", frame(PING, payload=bytes(6)), FRAME_SIZE)
    yield fine("5.5", "an unknown extension frame", frame(0xFF, 0xFF, 0, b"h2spec") + get())
    yield connection_error("5.5", "an unknown frame inside a field block", BEGUN + frame(0xFF, 0, 0, bytes(8)))
    yield fine("5.5", "an unknown setting", settings((0xFF, 1)) + get())


def frames() -> Iterator[Case]:
    yield connection_error("6.1", "DATA with stream 0", frame(DATA, END_STREAM, 0, b"test"))
    yield stream_error("6.1", "DATA on a stream that is not open", get(1, b"/wait") + data(1, b"x"), STREAM_CLOSED)
    yield connection_error("6.1", "DATA with invalid pad length", post() + frame(DATA, PADDED | 1, 1, b"\x9atest"))
    yield connection_error("6.2", "HEADERS without END_HEADERS, then PRIORITY", BEGUN + priority(1))
    yield connection_error("6.2", "HEADERS to another stream inside one", BEGUN + get(3))
    yield connection_error("6.2", "HEADERS with stream 0", headers(0))
    bad = frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, b"\xff" + block(GET))
    yield connection_error("6.2", "HEADERS with invalid pad length", bad)
    yield connection_error("6.3", "PRIORITY with stream 0", priority(0, 1))
    yield connection_error("6.3", "PRIORITY of another length than 5", frame(PRIORITY, 0, 1, b"\0\0\0\1"), FRAME_SIZE)
    yield connection_error("6.4", "RST_STREAM with stream 0", reset(0))
    yield connection_error("6.4", "RST_STREAM on an idle stream", reset(1))
    yield connection_error(
        "6.4", "RST_STREAM of another length than 4", post() + frame(RST_STREAM, 0, 1, b"\0\0\0"), FRAME_SIZE
    )
    yield connection_error("6.5", "SETTINGS with ACK and payload", frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE)
    yield connection_error("6.5", "SETTINGS with a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"))
    yield connection_error(
        "6.5", "SETTINGS of a length not a multiple of 6", frame(SETTINGS, 0, 0, b"\0\3\0"), FRAME_SIZE
    )
    yield connection_error("6.5.2", "ENABLE_PUSH other than 0 or 1", settings((ENABLE_PUSH, 2)))
    yield connection_error(
        "6.5.2", "INITIAL_WINDOW_SIZE above the maximum", settings((INITIAL_WINDOW, 1 << 31)), FLOW_CONTROL
    )
    yield connection_error("6.5.2", "MAX_FRAME_SIZE below the initial value", settings((MAX_FRAME, 16383)))
    yield connection_error("6.5.2", "MAX_FRAME_SIZE above the maximum", settings((MAX_FRAME, 1 << 24)))
    twice = settings((INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1))
    yield fine("6.5.3", "multiple values of INITIAL_WINDOW_SIZE", twice + get() + window_update(1, 1000))
    yield fine("6.5.3", "a table size of 0", settings((HEADER_TABLE_SIZE, 0)) + get() + get(3), 1, 3)
    yield connection_error("6.6", "PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(GET)))
    yield ignored("6.7", "PING with ACK", frame(PING, ACK, 0, b"invalid\0"))
    yield connection_error("6.7", "PING with a stream", frame(PING, 0, 1, bytes(8)))
    yield connection_error("6.7", "PING of another length than 8", frame(PING, 0, 0, bytes(6)), FRAME_SIZE)
    yield connection_error("6.8", "GOAWAY with a stream", frame(GOAWAY, 0, 1, bytes(8)))
    yield connection_error("6.9", "WINDOW_UPDATE of 0", window_update(0, 0))
    yield connection_error("6.9", "WINDOW_UPDATE of 0 on a stream", post() + window_update(1, 0))
    yield connection_error(
        "6.9", "WINDOW_UPDATE of another length than 4", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE
    )
    yield connection_error("6.9.1", "a connection window above 2^31-1", window_update(0, MAX) * 2, FLOW_CONTROL)
    yield stream_error("6.9.1", "a stream window above 2^31-1", post() + window_update(1, MAX) * 2, FLOW_CONTROL)
    over = post() + settings((INITIAL_WINDOW, MAX)) + window_update(1, 1)
    yield stream_error("6.9.2", "a stream window above 2^31-1 by SETTINGS and WINDOW_UPDATE", over, FLOW_CONTROL)
    over = post() + window_update(1, MAX - 65535) + settings((INITIAL_WINDOW, MAX))
    yield connection_error("6.9.2", "a stream window above 2^31-1 by SETTINGS", over, FLOW_CONTROL)
    whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, block(GET))
    after = frame(CONTINUATION, END_HEADERS, 1, block([(b"x", b"y")]))
    between = BEGUN + frame(CONTINUATION, 0, 1, REST[:5])
    yield connection_error("6.10", "CONTINUATION, then something else", between + data(1, b"x"))
    yield connection_error("6.10", "CONTINUATION with stream 0", BEGUN + frame(CONTINUATION, END_HEADERS, 0, REST))
    yield connection_error("6.10", "CONTINUATION after END_HEADERS", whole + after, PROTOCOL, STREAM_CLOSED)
    yield connection_error(
        "6.10",
        "CONTINUATION after CONTINUATION with END_HEADERS",
        BEGUN + frame(CONTINUATION, END_HEADERS, 1, REST) + after,
        PROTOCOL,
        STREAM_CLOSED,
    )
    yield connection_error("6.10", "CONTINUATION after DATA", post() + data(1, b"x", 0) + after)
    yield fine("7", "GOAWAY with an unknown error code", get() + frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\xff"))
    yield ignored("7", "RST_STREAM with an unknown error code", post() + reset(1, 0xFF))


def messages() -> Iterator[Case]:
    again = post() + headers(1, [(b"x-test", b"ok")], flags=END_HEADERS)
    yield stream_error("8.1", "a second HEADERS without END_STREAM", again)
    yield stream_error("8.2.1", "a field name in upper case", get(1, b"/", (b"X-TEST", b"ok")))
    yield stream_error("8.2.1", "a field name that is empty", get(1, b"/", (b"", b"ok")))
    yield stream_error("8.2.1", "a field value with a NUL", get(1, b"/", (b"x", b"a\0b")))
    yield stream_error("8.2.1", "a field value with a blank at its end", get(1, b"/", (b"x", b"a ")))
    yield stream_error("8.2.2", "the field connection", get(1, b"/", (b"connection", b"keep-alive")))
    yield stream_error("8.2.2", "TE other than trailers", get(1, b"/", (b"te", b"trailers, deflate;q=0.5")))
    yield fine("8.2.2", "TE: trailers", get(1, b"/", (b"te", b"trailers")))
    yield stream_error("8.3", "an unknown pseudo-header field", headers(fields=((b":test", b"ok"), *GET)))
    yield stream_error("8.3", "a pseudo-header field of responses", headers(fields=((b":status", b"200"), *GET)))
    yield stream_error("8.3", "a pseudo-header field among trailers", post() + headers(1, [(b":method", b"GET")]))
    late = (*without(b":path"), (b"x-test", b"ok"), (b":path", b"/"))
    yield stream_error("8.3", "a pseudo-header field after a regular one", headers(fields=late))
    yield stream_error("8.3.1", "an empty :path", headers(fields=replaced(b":path", b"")))
    for name in (b":method", b":scheme", b":path", b":authority"):
        yield stream_error("8.3.1", f"no {name.decode()}", headers(fields=without(name)))
    for name in (b":method", b":scheme", b":path", b":authority"):
        twice = (*GET, next(pair for pair in GET if pair[0] == name))
        yield stream_error("8.3.1", f"{name.decode()} twice", headers(fields=twice))
    hosted = (*without(b":authority"), (b"host", b"test.example"))
    yield fine("8.3.1", "Host in place of :authority", headers(fields=hosted))
    yield fine(
        "8.3.1",
        "OPTIONS *",
        headers(fields=((b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"*"), GET[3])),
    )
    long = (b"content-length", b"1")
    yield stream_error("8.1.1", "a content-length over the DATA", post(1, (b"content-length", b"9")) + data(1, b"test"))
    yield stream_error("8.1.1", "a content-length under the DATA", post(1, long) + data(1, b"test"))
    yield stream_error(
        "8.1.1", "a content-length that isn't the sum of DATA", post(1, long) + data(1, b"t", 0) + data(1, b"t")
    )
    yield stream_error("8.1.1", "a content-length, and no DATA", get(1, b"/", long))
    yield stream_error(
        "8.1.1", "a content-length, and trailers instead of DATA", post(1, long) + headers(1, [(b"x", b"y")])
    )
    protocol = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])
    yield stream_error("8.5", "an extended CONNECT, which was not offered", headers(fields=protocol))


def indexed(*indices: int) -> bytes:
    return b"".join(integer(index, 7, 0x80) for index in indices)


def compression() -> Iterator[Case]:
    def head(fragment: bytes, stream: int = 1) -> bytes:
        return frame(HEADERS, END_STREAM | END_HEADERS, stream, fragment)

    authority = b"\x41" + b"\x0c" + b"test.example"
    start = indexed(2, 6, 4)
    yield fine("hpack 2.3.3", "indexed fields", head(start + authority) + head(start + indexed(62), 3), 1, 3)
    yield fine("hpack 6.2.1", "literal with indexing, a new name", head(start + authority + b"\x40\4user\4name"))
    name = b"\x85\xf2\xb2\x4a\x84\xff"  # x-test, Huffman coded
    yield fine(
        "hpack 6.2.1",
        "literal with indexing, Huffman coded",
        head(start + authority + b"\x40" + name + b"\x83\x49\x50\x9f"),
    )
    yield fine("hpack 6.2.2", "literal without indexing", head(start + authority + b"\x0f\x2b\4name"))
    yield fine("hpack 6.2.3", "literal never indexed", head(start + authority + b"\x10\4user\4name"))
    yield fine("hpack 6.3", "a table size update", head(b"\x20" + start + authority))
    yield fine("hpack 6.3", "two table size updates", head(b"\x20\x3f\xe1\x1f" + start + authority))
    yield connection_error("hpack 2.3.3", "an index of 0", head(start + b"\x80"), COMPRESSION)
    yield connection_error("hpack 2.3.3", "an index beyond the table", head(start + indexed(70)), COMPRESSION)
    yield connection_error("hpack 2.3.3", "a name's index beyond the table", head(start + b"\x7f\7\1x"), COMPRESSION)
    yield connection_error("hpack 4.2", "a size update after a field", head(start + authority + b"\x20"), COMPRESSION)
    yield connection_error("hpack 5.1", "an integer without an end", head(start + b"\xff" + b"\xff" * 40), COMPRESSION)
    yield connection_error("hpack 5.2", "a string longer than its block", head(start + b"\0\x7f\1x"), COMPRESSION)
    yield connection_error(
        "hpack 5.2", "Huffman padding over 7 bits", head(start + b"\0" + name + b"\x84\x49\x50\x9f\xff"), COMPRESSION
    )
    yield connection_error(
        "hpack 5.2", "Huffman padding of zeros", head(start + b"\0" + name + b"\x83\x49\x50\x90"), COMPRESSION
    )
    yield connection_error(
        "hpack 5.2", "Huffman with EOS", head(start + b"\0" + name + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"), COMPRESSION
    )
    yield connection_error("hpack 6.3", "a table size over the limit", head(b"\x3f\xe2\x1f" + start), COMPRESSION)


CASES = (*generic(), *preface_and_frames(), *states(), *frames(), *messages(), *compression())
