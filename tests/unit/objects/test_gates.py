"""The gates of an object's storage: what is atomic, what fails alone, and what waits for the disk before it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorings.errors import StoreError
from moorings.http import Request, Response
from moorings.objects.durable_object import DurableObject
from moorings.observer import ErrorReported
from tests.unit.objects.stored import Held, held


class Account(DurableObject):
    memory = 0

    async def add(self, n: int = 1) -> int:
        value = (await self.ctx.storage.get("n", 0)) + n
        self.ctx.storage.put("n", value)
        return int(value)

    async def read(self) -> Any:
        return await self.ctx.storage.get("n")

    def write(self, key: str, value: Any) -> None:
        self.ctx.storage.put(key, value)

    def write_and_fail(self) -> None:
        self.ctx.storage.put("n", 1)
        raise LookupError("after the write")

    async def write_and_call(self, other: str) -> Any:
        self.ctx.storage.put("n", 1)
        return await self.env["others"].get_by_name(other).note("called")

    async def write_and_fetch(self, other: str) -> Any:
        self.ctx.storage.put("n", 1)
        return await (await self.env["others"].get_by_name(other).fetch("/")).text()

    async def write_two_and_break(self) -> None:
        self.ctx.storage.put("a", 1)
        self.ctx.storage._group.write("INSERT INTO nowhere VALUES (1)")
        self.ctx.storage.put("b", 1)

    async def both(self) -> Any:
        return await self.ctx.storage.get(["a", "b"])

    def remember(self) -> int:
        self.memory += 1
        return self.memory

    async def fetch(self, request: Request) -> Response:
        if request.url.path == "/stream":
            return Response(self.stream())
        self.ctx.storage.put("n", request.url.path)
        return Response(request.url.path)

    async def stream(self) -> AsyncIterator[bytes]:
        yield b"first"
        self.ctx.storage.put("n", "between")
        yield b"second"


class Notes(DurableObject):
    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.notes: list[str] = []

    def note(self, text: str) -> list[str]:
        self.notes.append(text)
        return self.notes

    async def fetch(self, request: Request) -> Response:
        self.notes.append("fetched")
        return Response("fetched")


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Held]:
    async with held(tmp_path) as here:
        yield here


async def test_a_get_and_the_put_that_follows_it_are_atomic(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    results = await asyncio.gather(*(account.add() for _ in range(200)))
    assert sorted(results) == list(range(1, 201))


async def test_reads_see_a_write_at_once(disk: Held) -> None:
    accounts = disk.namespace(Account)
    disk.hold()
    storage = accounts.activate(accounts.id_from_name("a")).state
    assert storage is not None
    storage.storage.put("n", 5)
    assert await storage.storage.get("n") == 5


async def test_writes_between_two_suspensions_commit_together_or_not_at_all(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    with pytest.raises(StoreError):
        await account.write_two_and_break()
    assert await account.both() == {}


async def test_a_group_that_fails_resets_its_object_and_no_other(disk: Held) -> None:
    accounts = disk.namespace(Account)
    broken, whole = accounts.get_by_name("a"), accounts.get_by_name("b")
    assert [await broken.remember(), await whole.remember()] == [1, 1]
    outcomes = await asyncio.gather(broken.write_two_and_break(), whole.add(7), return_exceptions=True)
    assert isinstance(outcomes[0], StoreError)
    assert outcomes[1] == 7
    assert [await broken.remember(), await whole.remember()] == [1, 2]
    assert [type(event) for event in disk.recorder.events] == [ErrorReported]
    assert await broken.add() == 1


async def test_an_rpc_result_waits_until_the_writes_are_durable(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    disk.hold()
    assert await disk.held_back(account.add(3)) == 3


async def test_an_rpc_error_waits_until_the_writes_are_durable(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    disk.hold()
    with pytest.raises(LookupError, match="after the write"):
        await disk.held_back(account.write_and_fail())


async def test_a_response_head_waits_until_the_writes_are_durable(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    disk.hold()
    response = await disk.held_back(account.fetch("/x"))
    assert await response.text() == "/x"


async def test_a_chunk_made_in_python_waits_until_the_writes_before_it_are_durable(disk: Held) -> None:
    account = disk.namespace(Account).get_by_name("a")
    body = (await account.fetch("/stream")).body
    assert await anext(body) == b"first"
    disk.hold()
    assert await disk.held_back(anext(body)) == b"second"


async def test_the_gate_is_the_objects_not_the_requests(disk: Held) -> None:
    accounts = disk.namespace(Account)
    account = accounts.get_by_name("a")
    await account.read()
    disk.hold()
    writing = asyncio.ensure_future(account.add(3))
    await disk.settle()
    assert await disk.held_back(account.read()) == 3
    assert await writing == 3


async def test_other_objects_wait_for_nothing(disk: Held) -> None:
    accounts = disk.namespace(Account)
    disk.hold()
    writing = asyncio.ensure_future(accounts.get_by_name("a").add(3))
    await disk.settle()
    assert await accounts.get_by_name("b").remember() == 1
    assert not writing.done()
    disk.release()
    await writing


@pytest.mark.parametrize(("method", "left"), [("write_and_call", ["called"]), ("write_and_fetch", ["fetched"])])
async def test_a_request_through_a_stub_leaves_when_the_writes_are_durable(
    disk: Held, method: str, left: list[str]
) -> None:
    others = disk.namespace(Notes)
    account = disk.namespace(Account, {"others": others}).get_by_name("a")
    notes = others.activate(others.id_from_name("b")).instantiated().notes
    disk.hold()
    calling = asyncio.ensure_future(getattr(account, method)("b"))
    await disk.settle()
    assert notes == []
    disk.release()
    await calling
    assert notes == left


async def test_what_was_answered_is_there_in_the_next_life(tmp_path: Path) -> None:
    async with held(tmp_path) as first:
        assert await first.namespace(Account).get_by_name("a").add(3) == 3
    async with held(tmp_path) as second:
        assert await second.namespace(Account).get_by_name("a").add(4) == 7


async def test_an_object_with_writes_under_way_stays_in_memory(disk: Held) -> None:
    accounts = disk.namespace(Account)
    account = accounts.get_by_name("a")
    await account.remember()
    activation = accounts.activate(account.id)
    assert activation.state is not None
    disk.hold()
    activation.state.storage.put("n", 1)
    await disk.place.clock.advance(60)
    assert accounts.live() == [activation]
    disk.release()
    await activation.state.storage.sync()
    await disk.place.clock.advance(60)
    assert accounts.live() == []


async def test_a_transaction_keeps_other_events_out(disk: Held) -> None:
    class Bank(Account):
        async def transfer(self) -> int:
            async def closure(txn: Any) -> int:
                value = await txn.get("n", 0)
                await asyncio.sleep(0)
                txn.put("n", value + 1)
                return int(value) + 1

            return await self.ctx.storage.transaction(closure)

    bank = disk.namespace(Bank).get_by_name("a")
    assert sorted(await asyncio.gather(*(bank.transfer() for _ in range(20)))) == list(range(1, 21))


async def test_a_transaction_that_awaits_a_cancelled_task_fails_alone(disk: Held) -> None:
    class Cancelling(Account):
        async def fail(self) -> str:
            async def closure(txn: Any) -> None:
                other = asyncio.ensure_future(asyncio.Event().wait())
                other.cancel()
                await other

            try:
                await self.ctx.storage.transaction(closure)
            except asyncio.CancelledError:
                return "told"
            return "unknown"

    objects = disk.namespace(Cancelling)
    stub = objects.get_by_name("a")
    call = asyncio.ensure_future(stub.fail())
    await disk.settle()
    assert call.result() == "told"
    assert await stub.add() == 1
    assert objects.activate(stub.id).generation == 0
