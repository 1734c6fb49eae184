"""Random histories of a storage, with crashes, against a dict."""

from __future__ import annotations

import asyncio
import copy
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moorings.clock import ManualClock
from moorings.objects.sql_files import SqlFiles
from moorings.objects.storage import Storage
from moorings.objects.transaction import Transaction
from moorings.store import SqliteStore
from tests.unit.objects.storing import TABLES, Place

T = TypeVar("T")
Model = dict[str, Any]

keys = st.sampled_from(["a", "a1", "a2", "b", "é", "z", "\U0001f600"])
values = st.one_of(st.integers(), st.none(), st.text(max_size=5), st.lists(st.booleans(), max_size=3).map(tuple))
entries = st.dictionaries(keys, values, max_size=4)
bounds = st.one_of(st.none(), keys)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, values), st.tuples(st.just("delete"), keys), st.tuples(st.just("list"), keys)
    ),
    max_size=6,
)


class Rollback(Exception):
    pass


class StorageMachine(RuleBasedStateMachine):
    """``model`` is what memory shows; ``possible`` holds every state that a crash may leave, oldest first."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="moorings-machine-"))
        self.model: Model = {}
        self.possible: list[Model] = [{}]
        self.open()

    def open(self) -> None:
        self.store = self.run(SqliteStore.open(self.folder, migrations=TABLES, clock=ManualClock()))
        self.files = self.run(self.make_files())
        self.storage: Storage = Place(self.store, self.files).storage()

    async def make_files(self) -> SqlFiles:
        return SqlFiles(self.folder / "sql")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def wrote(self) -> None:
        self.possible.append(copy.deepcopy(self.model))

    @rule(key=keys, value=values)
    def put(self, key: str, value: Any) -> None:
        async def put() -> None:
            self.storage.put(key, value)

        self.run(put())
        self.model[key] = value
        self.wrote()

    @rule(entries=entries)
    def put_many(self, entries: Model) -> None:
        async def put() -> None:
            await self.storage.put(entries)

        self.run(put())
        self.model.update(entries)
        self.wrote()

    @rule(key=keys)
    def delete(self, key: str) -> None:
        async def delete() -> bool:
            return await self.storage.delete(key)

        assert self.run(delete()) is (key in self.model)
        self.model.pop(key, None)
        self.wrote()

    @rule(several=st.lists(keys, max_size=4))
    def delete_many(self, several: list[str]) -> None:
        async def delete() -> int:
            return await self.storage.delete(several)

        assert self.run(delete()) == len(set(several) & set(self.model))
        for key in several:
            self.model.pop(key, None)
        self.wrote()

    @rule()
    def delete_all(self) -> None:
        async def delete_all() -> None:
            self.storage.delete_all()

        self.run(delete_all())
        self.model.clear()
        self.wrote()

    @rule(entries=entries, several=st.lists(keys, max_size=3))
    def several_calls_of_one_turn(self, entries: Model, several: list[str]) -> None:
        async def turn() -> None:
            for key in several:
                self.storage.delete(key)
            for key, value in entries.items():
                self.storage.put(key, value)
                assert await self.storage.get(key) == value

        self.run(turn())
        for key in several:
            self.model.pop(key, None)
        self.model.update(entries)
        self.wrote()

    @rule(operations=operations, end=st.sampled_from(["return", "rollback", "raise"]), waits=st.booleans())
    def transaction(self, operations: list[Any], end: str, waits: bool) -> None:
        shadow = dict(self.model)

        async def closure(txn: Transaction) -> None:
            for operation in operations:
                if waits:
                    await asyncio.sleep(0)
                match operation:
                    case ("put", key, value):
                        txn.put(key, value)
                        shadow[key] = value
                    case ("delete", key):
                        assert await txn.delete(key) is (key in shadow)
                        shadow.pop(key, None)
                    case ("list", key):
                        expected = {k: shadow[k] for k in sorted(shadow, key=str.encode) if k >= key}
                        assert list((await txn.list(start=key)).items()) == list(expected.items())
                        assert await txn.get(key, "missing") == shadow.get(key, "missing")
            if end == "rollback":
                txn.rollback()
            elif end == "raise":
                raise Rollback

        async def transact() -> None:
            try:
                await self.storage.transaction(closure)
            except Rollback:
                assert end == "raise"

        self.run(transact())
        if end == "return":
            self.model = shadow
            self.wrote()

    @rule(prefix=bounds, start=bounds, end=bounds, limit=st.one_of(st.none(), st.integers(1, 4)), reverse=st.booleans())
    def list(self, prefix: str | None, start: str | None, end: str | None, limit: int | None, reverse: bool) -> None:
        listed = self.run(self.storage.list(prefix=prefix, start=start, end=end, limit=limit, reverse=reverse))
        expected = [
            key
            for key in sorted(self.model, key=str.encode, reverse=reverse)
            if (prefix is None or key.startswith(prefix))
            and (start is None or key.encode() >= start.encode())
            and (end is None or key.encode() < end.encode())
        ][:limit]
        assert list(listed.items()) == [(key, self.model[key]) for key in expected]

    @rule(turns=st.integers(1, 3))
    def let_turns_go_by(self, turns: int) -> None:
        async def idle() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(idle())

    @rule()
    def sync(self) -> None:
        self.run(self.storage.sync())
        self.possible = [copy.deepcopy(self.model)]

    @rule()
    def reopen(self) -> None:
        self.run(self.files.close())
        self.run(self.store.close())
        self.possible = [copy.deepcopy(self.model)]
        self.open()

    @rule()
    def crash(self) -> None:
        """What was not handed to the writer is lost; what was may have been stored."""
        journal = self.store._journal
        journal._batch.clear()
        journal._jobs.put(None)
        journal._thread.join()
        self.store._reader.close()
        self.store._connection.close()
        self.run(self.files.close())
        self.loop.close()
        self.loop = asyncio.new_event_loop()
        self.open()
        found = self.run(self.storage.list())
        assert found in self.possible
        self.model = found
        self.possible = [copy.deepcopy(found)]

    @invariant()
    def memory_shows_the_model(self) -> None:
        if hasattr(self, "storage"):
            ordered = {key: self.model[key] for key in sorted(self.model, key=str.encode)}
            assert list(self.run(self.storage.list()).items()) == list(ordered.items())

    def teardown(self) -> None:
        if hasattr(self, "storage"):
            self.run(self.files.close())
            self.run(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)


TestStorageAgainstADict = StorageMachine.TestCase
TestStorageAgainstADict.settings = settings(
    max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
