"""What a WebSocket endpoint has to get right, as bytes: the areas are those of the Autobahn test suite.

Each case ends with a close frame, so an endpoint that takes all of it closes; one that refuses it closes before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, frame

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes to send, in pieces of ``piece`` bytes, and how many frames to await before the next step."""

    data: bytes
    answers: int = 0
    piece: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    steps: tuple[Step, ...]


def case(name: str, *steps: Step | bytes) -> Case:
    return Case(name, (*(step if isinstance(step, Step) else Step(step) for step in steps), Step(close())))


def framing() -> Iterator[Case]:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        for size in (0, 1, 2, 125, 126, 127, 128, 1000, 65535, 65536, 65537, 200_000):
            data = frame(opcode, b"*" * size)
            yield case(f"{kind} of {size}", Step(data, 1))
            if size <= 128:
                yield case(f"{kind} of {size} byte by byte", Step(data, 1, piece=1))
            else:
                yield case(f"{kind} of {size} in pieces", Step(data, 1, piece=997))
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (CLOSE, "close")):
        yield case(f"unmasked {kind}", frame(opcode, b"", mask=None))
    yield case("mask of zeros", Step(frame(TEXT, b"hello", mask=bytes(4)), 1))
    yield case("16-bit length of a short one", Step(frame(TEXT, b"hello", length=b"\x7e\0\x05"), 1))
    yield case("64-bit length of a short one", Step(frame(TEXT, b"hello", length=b"\x7f" + bytes(7) + b"\x05"), 1))
    yield case("64-bit length with its highest bit", frame(BINARY, b"", length=b"\x7f\xff" + bytes(7)))
    for count in (2, 10, 100):
        yield case(f"{count} messages in one piece", Step(frame(TEXT, b"hello") * count, count))


def control() -> Iterator[Case]:
    for size in (0, 1, 8, 124, 125):
        yield case(f"ping of {size}", Step(frame(PING, b"\xfe" * size), 1))
        yield case(f"ping of {size} byte by byte", Step(frame(PING, b"\xfe" * size), 1, piece=1))
        yield case(f"pong of {size}", frame(PONG, b"\xfe" * size), Step(frame(PING, b"after"), 1))
    for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        yield case(f"{kind} of 126", frame(opcode, b"*" * 126))
        yield case(f"{kind} in fragments", frame(opcode, b"", fin=False))
    yield case("ten pings in one piece", Step(b"".join(frame(PING, b"%d" % n) for n in range(10)), 10))
    yield case("ten pings byte by byte", Step(b"".join(frame(PING, b"%d" % n) for n in range(10)), 10, piece=1))


def reserved() -> Iterator[Case]:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary"), (CLOSE, "close"), (PING, "ping"), (PONG, "pong")):
        for rsv in range(1, 8):
            yield case(f"{kind} with reserved bits {rsv}", Step(frame(TEXT, b"before"), 1), frame(opcode, b"", rsv=rsv))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"hello"):
            yield case(f"reserved opcode {opcode} of {len(payload)}", frame(opcode, payload))


def fragments() -> Iterator[Case]:
    first, middle, last = frame(TEXT, b"a", fin=False), frame(CONT, b"b", fin=False), frame(CONT, b"c")
    ping = frame(PING, b"between")
    for name, data, answers in (
        ("two fragments", first + last, 1),
        ("three fragments", first + middle + last, 1),
        ("a hundred fragments", first + middle * 98 + last, 1),
        ("empty fragments", frame(TEXT, fin=False) + frame(CONT, fin=False) + frame(CONT), 1),
        ("an empty last fragment", first + frame(CONT), 1),
        ("a ping between fragments", first + ping + last, 2),
        ("pings between all fragments", first + ping + middle + ping + last, 3),
        ("a pong between fragments", first + frame(PONG, b"x") + last, 1),
        ("two messages in fragments", (first + last) * 2, 2),
        ("fragments of a binary message", frame(BINARY, b"\xff", fin=False) + frame(CONT, b"\xfe"), 1),
    ):
        yield case(name, Step(data, answers))
        yield case(f"{name}, byte by byte", Step(data, answers, piece=1))
        yield case(f"{name}, and a message", Step(data, answers), Step(frame(TEXT, b"after"), 1))
    for name, data in (
        ("a continuation of nothing", last),
        ("an unfinished continuation of nothing", middle),
        ("a message inside a message", first + frame(TEXT, b"x")),
        ("a binary message inside a text message", first + frame(BINARY, b"x")),
        ("a fragmented message inside a message", first + first),
        ("a close inside a message", first),
    ):
        yield case(name, data)
        yield case(f"{name}, after a message", Step(frame(TEXT, b"before"), 1), data)
    yield case("a continuation after a message", Step(first + last, 1), last)


VALID = {
    "ascii": b"hello",
    "two bytes": "äöü\u0080\u07ff".encode(),
    "three bytes": "κόσμε€\u0800\ud7ff\ue000\ufffd\uffff".encode(),
    "four bytes": "\U00010000🎉\U0010ffff".encode(),
    "a nul": b"a\0b",
    "a byte order mark": b"\xef\xbb\xbfx",
    "non-characters": "\ufffe\uffff\U0001fffe\U0010ffff".encode(),
}
INVALID = {
    "a lone continuation": b"\x80",
    "another lone continuation": b"\xbf",
    "many continuations": bytes(range(0x80, 0xC0)),
    "a start without an end": b"\xc3",
    "a start before ascii": b"\xc3\x28",
    "three bytes cut to one": b"\xe2",
    "three bytes cut to two": b"\xe2\x82",
    "four bytes cut to one": b"\xf0",
    "four bytes cut to two": b"\xf0\x9f",
    "four bytes cut to three": b"\xf0\x9f\x8e",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash of three": b"\xe0\x80\xaf",
    "an overlong slash of four": b"\xf0\x80\x80\xaf",
    "an overlong nul": b"\xc0\x80",
    "an overlong 7f": b"\xc1\xbf",
    "an overlong 7ff": b"\xe0\x9f\xbf",
    "an overlong ffff": b"\xf0\x8f\xbf\xbf",
    "a high surrogate": b"\xed\xa0\x80",
    "a low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond the last": b"\xf4\x90\x80\x80",
    "good, bad, good": "κόσμε".encode() + b"\xed\xa0\x80" + b"edited",
}


def utf8() -> Iterator[Case]:
    for name, text in VALID.items():
        yield case(f"text of {name}", Step(frame(TEXT, text), 1))
        pieces = b"".join(frame(CONT, text[n : n + 1], fin=False) for n in range(1, len(text)))
        yield case(f"text of {name}, a fragment a byte", Step(frame(TEXT, text[:1], fin=False) + pieces, 0), END)
    for name, text in INVALID.items():
        yield case(f"text of {name}", Step(frame(TEXT, text), 1))
        yield case(f"text of {name}, in fragments", Step(frame(TEXT, text[:1], fin=False) + frame(CONT, text[1:]), 1))
    yield case("no text, but the same bytes", *(Step(frame(BINARY, text), 1) for text in INVALID.values()))


END = Step(frame(CONT), 1)


def closing() -> Iterator[Case]:
    yield case("nothing but a close")
    yield case("a close without a code", frame(CLOSE))
    yield case("a close of one byte", frame(CLOSE, b"\x03"))
    for code in (*range(1000, 1016), 1016, 1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535, 0, 999):
        yield case(f"close {code}", close(code))
    yield case("a close with a reason", close(1000, b"enough"))
    yield case("a close with a reason byte by byte", Step(close(1000, b"enough"), piece=1))
    yield case("a close with a reason of 123", close(1000, b"*" * 123))
    yield case("a close with a reason of 124", close(1000, b"*" * 124))
    yield case("a close with a reason of other letters", close(1001, "genug, κόσμε".encode()))
    yield case("a close with a reason that is no text", close(1000, b"\xed\xa0\x80"))
    yield case("a message after a close", close() + frame(TEXT, b"late"))
    yield case("a ping after a close", close() + frame(PING, b"late"))
    yield case("two closes", close() + close(1001))
    yield case("a message, then a close", Step(frame(TEXT, b"before"), 1), close(3000))


def limits() -> Iterator[Case]:
    yield case("a message of 1 MiB", Step(frame(BINARY, b"*" * MIB), 1))
    yield case("a message over 1 MiB", frame(BINARY, b"", length=b"\x7f" + (MIB + 1).to_bytes(8, "big")))
    quarter = b"*" * (MIB // 4)
    three = frame(BINARY, quarter, fin=False) + frame(CONT, quarter, fin=False) * 2
    yield case("fragments of 1 MiB", Step(three + frame(CONT, quarter), 1))
    yield case("fragments over 1 MiB", three, frame(CONT, b"", length=b"\x7f" + (MIB // 4 + 1).to_bytes(8, "big")))


CASES = (
    *framing(),
    *control(),
    *reserved(),
    *fragments(),
    *utf8(),
    *closing(),
    *limits(),
)
