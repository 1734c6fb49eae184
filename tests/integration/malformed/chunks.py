"""Bodies in chunked coding that break its grammar, and bad trailers."""

from __future__ import annotations

from tests.integration.malformed.case import LAST_CHUNK, SMUGGLED, bad_chunks

CHUNKS = (
    bad_chunks("chunk: not hexadecimal", "1*HEXDIG (RFC 9112, 7.1)", b"g\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: negative", "1*HEXDIG (RFC 9112, 7.1)", b"-5\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: plus", "1*HEXDIG (RFC 9112, 7.1)", b"+5\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: 0x", "1*HEXDIG (RFC 9112, 7.1); Python's int() takes it", b"0x5\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks(
        "chunk: underscore",
        "1*HEXDIG (RFC 9112, 7.1); Python's int() takes it",
        b"1_0\r\n" + b"x" * 16 + b"\r\n" + LAST_CHUNK,
    ),
    bad_chunks("chunk: leading space", "1*HEXDIG (RFC 9112, 7.1)", b" 5\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: no size", "1*HEXDIG (RFC 9112, 7.1)", b"\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: only an extension", "1*HEXDIG (RFC 9112, 7.1)", b";a=b\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks(
        "chunk: size over 64 bits",
        "recipients must expect overflow (RFC 9112, 7.1)",
        b"10000000000000005\r\nhello\r\n" + LAST_CHUNK,
        400,
        413,
    ),
    bad_chunks("chunk: size ends in LF", "CRLF only (RFC 9112, 7.1)", b"5\nhello\r\n" + LAST_CHUNK),
    bad_chunks("chunk: size ends in CR", "CRLF only (RFC 9112, 7.1)", b"5\rhello\r\n" + LAST_CHUNK),
    bad_chunks(
        "chunk: extension ends in LF",
        "TERM.EXT smuggling: one reader ends the line there",
        b"5;a\nhello\r\n" + LAST_CHUNK + SMUGGLED,
    ),
    bad_chunks("chunk: NUL in an extension", "control byte (RFC 9112, 7.1.1)", b"5;a=\x00b\r\nhello\r\n" + LAST_CHUNK),
    bad_chunks(
        "chunk: extension of 128 KiB",
        "extensions must be bounded (RFC 9112, 7.1.1)",
        b"5;a=" + b"b" * 131072 + b"\r\nhello\r\n" + LAST_CHUNK,
        400,
        413,
        431,
    ),
    bad_chunks(
        "chunk: longer than its size", "CRLF must follow the data (RFC 9112, 7.1)", b"3\r\nhello\r\n" + LAST_CHUNK
    ),
    bad_chunks(
        "chunk: shorter than its size",
        "CRLF must follow the data (RFC 9112, 7.1)",
        b"7\r\nhello\r\n" + LAST_CHUNK + SMUGGLED,
    ),
    bad_chunks("chunk: data ends in LF", "CRLF only (RFC 9112, 7.1)", b"5\r\nhello\n" + LAST_CHUNK),
    bad_chunks("chunk: data without end", "CRLF must follow the data (RFC 9112, 7.1)", b"5\r\nhello" + LAST_CHUNK),
    bad_chunks("chunk: last one of 00x", "1*HEXDIG (RFC 9112, 7.1)", b"5\r\nhello\r\n00x\r\n\r\n"),
    bad_chunks(
        "trailer: space before the colon", "the same grammar as headers (RFC 9112, 7.1.2)", b"0\r\nX-A : b\r\n\r\n"
    ),
    bad_chunks("trailer: folded", "the same grammar as headers (RFC 9112, 7.1.2)", b"0\r\nX-A: b\r\n c\r\n\r\n"),
    bad_chunks("trailer: NUL", "the same grammar as headers (RFC 9112, 7.1.2)", b"0\r\nX-A: b\x00\r\n\r\n"),
    bad_chunks("trailer: bare LF", "the same grammar as headers (RFC 9112, 7.1.2)", b"0\r\nX-A: b\n\r\n\r\n"),
    bad_chunks("trailer: no colon", "the same grammar as headers (RFC 9112, 7.1.2)", b"0\r\nnonsense\r\n\r\n"),
    bad_chunks(
        "trailers of 128 KiB",
        "trailers are bounded like heads",
        b"0\r\n" + b"X-A: b\r\n" * 16384 + b"\r\n",
        400,
        413,
        431,
    ),
)
