"""The back-pressure of a body on its way from a connection to its reader."""

from __future__ import annotations

from moorings.http.body import HIGH_WATER, BodyStream
from moorings.http.headers import Headers


class Connection:
    """A source: whether it reads."""

    def __init__(self) -> None:
        self.reads = True

    def pause_body(self) -> None:
        self.reads = False

    def resume_body(self) -> None:
        self.reads = True

    def body_wanted(self) -> None: ...

    def body_dropped(self) -> None: ...


class SlowSink:
    """Takes what it is given, and wants no more after that."""

    def __init__(self, body: BodyStream) -> None:
        self.taken = b""
        self._body = body

    def body_chunk(self, chunk: bytes) -> None:
        self.taken += chunk
        self._body.pause()

    def body_end(self, trailers: Headers | None) -> None:
        self.taken += b"."

    def body_error(self, error: BaseException) -> None:
        raise error


def test_a_source_is_stopped_while_nobody_reads() -> None:
    source = Connection()
    body = BodyStream(source, -1)
    body.feed(bytes(HIGH_WATER))
    assert not source.reads


def test_a_source_that_was_stopped_reads_what_follows_a_complete_body_although_nobody_has_read_that() -> None:
    source = Connection()
    body = BodyStream(source, -1)
    body.feed(bytes(HIGH_WATER))
    body.finish()
    assert source.reads


def test_a_source_whose_last_chunk_stopped_it_reads_what_follows_the_body() -> None:
    source = Connection()
    body = BodyStream(source, -1)
    sink = SlowSink(body)
    body.attach(sink)
    body.feed(b"last")
    stopped = not source.reads
    body.finish()
    assert stopped
    assert source.reads
    assert sink.taken == b"last."
