"""What leaves an object, by whichever way, leaves after its writes are durable; and what fails when they are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorings.clock import ManualClock
from moorings.containers import records
from moorings.containers.lifecycle import Status
from moorings.containers.records import ContainerRecord, StoredRecords
from moorings.errors import ObjectReset, StoreError
from moorings.http import Request, Response
from moorings.http.body import BodyStream
from moorings.http.grammar import Framing
from moorings.objects.durable_object import DurableObject, inline
from moorings.objects.sql_files import SqlFiles
from moorings.store import SqliteStore
from tests.unit.objects.stored import Held, held
from tests.unit.objects.storing import TABLES, Place


class Source(DurableObject):
    memory = 0

    async def stream(self) -> Any:
        return self._chunks()

    async def respond(self) -> Response:
        return Response(self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.ctx.storage.put("n", "between")
        yield b"second"

    async def broken_stream(self) -> Response:
        return Response(self._broken())

    async def _broken(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.ctx.storage._group.write("INSERT INTO nowhere VALUES (1)")
        yield b"never seen"

    async def give_stream(self, other: str) -> None:
        await self.env["others"].get_by_name(other).take(self._chunks())

    async def upload(self, other: str) -> None:
        await self.env["others"].get_by_name(other).fetch("/", method="POST", body=self._chunks())

    async def give_request(self, other: str) -> None:
        request = Request("http://container/", method="POST", body=self._chunks())
        await self.env["others"].get_by_name(other).take_request(request)

    async def stream_past_a_reset(self) -> Response:
        return Response(self._past_a_reset())

    async def _past_a_reset(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.ctx.storage._group.write("INSERT INTO nowhere VALUES (1)")
        with contextlib.suppress(StoreError):
            await self.ctx.storage.sync()
        yield b"never seen"

    def remember(self) -> int:
        self.memory += 1
        return self.memory

    async def keys_fail_and_sql_does_not(self) -> None:
        self.ctx.storage.sql.exec("CREATE TABLE t (n INTEGER)")
        self.ctx.storage.sql.exec("INSERT INTO t VALUES (1)")
        self.ctx.storage.put("n", 1)
        self.ctx.storage._group.write("INSERT INTO nowhere VALUES (1)")

    async def both(self) -> list[Any]:
        rows = self.ctx.storage.sql.exec("SELECT n FROM t").to_array()
        return [await self.ctx.storage.get("n"), rows]

    async def write_sql(self) -> str:
        self.ctx.storage.sql.exec("CREATE TABLE t (n INTEGER)")
        self.stored = asyncio.ensure_future(self.ctx.storage.sync())
        return "written"

    async def fetch(self, request: Request) -> Response:
        return Response(self._chunks())


class Sink(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.taken: list[bytes] = []

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.taken.append(chunk)

    async def take_request(self, request: Request) -> None:
        assert request.body is not None
        await self.take(request.body)

    async def fetch(self, request: Request) -> Response:
        await self.take_request(request)
        return Response()


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Held]:
    async with held(tmp_path) as here:
        yield here


async def test_chunks_of_a_response_that_a_method_returns_wait(disk: Held) -> None:
    body = (await disk.namespace(Source).get_by_name("a").respond()).body
    assert await anext(body) == b"first"
    disk.hold()
    assert await disk.held_back(anext(body)) == b"second"


async def test_chunks_of_a_stream_that_a_method_returns_wait(disk: Held) -> None:
    chunks = await disk.namespace(Source).get_by_name("a").stream()
    assert await anext(chunks) == b"first"
    disk.hold()
    assert await disk.held_back(anext(chunks)) == b"second"


@pytest.mark.parametrize("method", ["give_stream", "give_request", "upload"])
async def test_chunks_that_an_object_sends_to_another_wait(disk: Held, method: str) -> None:
    others = disk.namespace(Sink)
    source = disk.namespace(Source, {"others": others}).get_by_name("a")
    taken = others.activate(others.id_from_name("b")).instantiated().taken
    disk.hold()
    sending = asyncio.ensure_future(getattr(source, method)("b"))
    await disk.settle()
    assert taken == [b"first"]
    disk.release()
    await sending
    assert taken == [b"first", b"second"]


async def test_a_write_that_fails_after_the_head_breaks_the_body_off(disk: Held) -> None:
    body = (await disk.namespace(Source).get_by_name("a").broken_stream()).body
    assert await anext(body) == b"first"
    with pytest.raises(StoreError):
        await anext(body)


async def test_keys_and_sql_are_atomic_each_alone_and_not_together(disk: Held) -> None:
    source = disk.namespace(Source).get_by_name("a")
    with pytest.raises(StoreError):
        await source.keys_fail_and_sql_does_not()
    assert await source.both() == [None, [{"n": 1}]]


async def test_a_stream_ends_with_the_memory_of_the_object_that_made_it(disk: Held) -> None:
    body = (await disk.namespace(Source).get_by_name("a").stream_past_a_reset()).body
    assert await anext(body) == b"first"
    with pytest.raises(ObjectReset, match="while it sent a stream"):
        await anext(body)


@pytest.mark.parametrize("method", ["fetch", "respond", "stream"])
async def test_an_object_stays_in_memory_while_a_stream_of_its_own_is_read(disk: Held, method: str) -> None:
    sources = disk.namespace(Source)
    source = sources.get_by_name("a")
    answer = await (source.fetch("/") if method == "fetch" else getattr(source, method)())
    chunks = answer if method == "stream" else answer.body
    del answer
    assert await source.remember() == 1
    assert await anext(chunks) == b"first"
    await disk.place.clock.advance(60)
    assert await source.remember() == 2
    assert [chunk async for chunk in chunks] == [b"second"]
    await disk.settle()
    await disk.place.clock.advance(60)
    assert sources.live() == []


async def test_a_stream_that_nobody_reads_to_its_end_keeps_nothing_in_memory(disk: Held) -> None:
    sources = disk.namespace(Source)
    source = sources.get_by_name("a")
    begun = (await source.fetch("/")).body
    await anext(begun)
    await source.fetch("/")
    del begun
    await disk.settle()
    await disk.place.clock.advance(60)
    assert sources.live() == []


async def test_a_stream_whose_client_has_gone_is_no_longer_counted(disk: Held) -> None:
    sources = disk.namespace(Source)
    request = Request("http://container/")
    body = (await sources.get_by_name("a").fetch(request)).body
    await anext(body)
    await disk.settle()
    (activation,) = sources.live()
    assert activation.requests == 1
    request.signal.fire()
    assert activation.requests == 0
    assert [chunk async for chunk in body] == [b"second"]
    assert activation.requests == 0


async def test_a_result_waits_for_the_writes_of_sql_as_well(disk: Held) -> None:
    sources = disk.namespace(Source)
    assert await sources.get_by_name("a").write_sql() == "written"
    (activation,) = sources.live()
    assert activation.instance.stored.done()


class Forwarder(DurableObject):
    """Answers with a body that comes off a connection."""

    @inline
    async def fetch(self, request: Request) -> Response:
        self.ctx.storage.put("n", 1)
        return Response(self.env["body"])

    def write(self) -> None:
        self.ctx.storage.put("n", 2)


class Connection:
    """The connection of a program that sends as much as is wanted."""

    def pause_body(self) -> None: ...

    def resume_body(self) -> None: ...

    def body_wanted(self) -> None: ...

    def body_dropped(self) -> None: ...


async def test_bytes_from_a_container_wait_at_the_head_only(disk: Held) -> None:
    stream = BodyStream(Connection(), Framing.CHUNKED)
    forwarder = disk.namespace(Forwarder, {"body": stream}).get_by_name("a")
    disk.hold()
    body = (await disk.held_back(forwarder.fetch("/"))).body
    disk.hold()
    writing = asyncio.ensure_future(forwarder.write())
    await disk.settle()
    assert not writing.done()
    stream.feed(b"forwarded")
    assert await anext(body) == b"forwarded"
    disk.release()
    await writing
    stream.finish()
    assert [chunk async for chunk in body] == []


async def test_what_the_platform_stores_itself_holds_nothing_back(tmp_path: Path) -> None:
    tables = (*TABLES, *records.MIGRATIONS)
    store = await SqliteStore.open(tmp_path, migrations=tables, clock=ManualClock())
    files = SqlFiles(tmp_path / "sql")
    disk = Held(Place(store, files))
    try:
        sources = disk.namespace(Source)
        source = sources.get_by_name("a")
        assert await source.remember() == 1
        disk.hold()
        StoredRecords(store, disk.place.failures.append).write(
            ContainerRecord("Source", source.id.raw, "a", Status.RUNNING, 1.0, None, "token", 1.0, None, True)
        )
        assert await source.remember() == 2
        assert disk.place.writes == 0
    finally:
        disk.release()
        await files.close()
        await store.close()
