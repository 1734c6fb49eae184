"""An object's keys and alarm: writes that take effect at the call, reads that never wait, units that hold together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from moorings.errors import StoreError
from moorings.objects.storage import Storage
from moorings.objects.transaction import Transaction
from tests.unit.objects.storing import Place, place


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    async with place(tmp_path) as opened:
        yield opened


def at_once(awaitable: Awaitable[Any]) -> Any:
    """The result of something that must not suspend."""
    iterator = awaitable.__await__()
    with pytest.raises(StopIteration) as stop:
        next(iterator)
    return stop.value.value


async def test_a_write_is_seen_at_once_and_is_durable_after_sync(here: Place, tmp_path: Path) -> None:
    storage = here.storage()
    storage.put("k", {"a": [1, (2, 3)]})
    assert await storage.get("k") == {"a": [1, (2, 3)]}
    assert await here.store.read("SELECT count(*) FROM objects_keys") == [(0,)]
    await storage.sync()
    assert await here.store.read("SELECT count(*) FROM objects_keys") == [(1,)]
    assert await here.storage().get("k") == {"a": [1, (2, 3)]}


async def test_reads_and_writes_never_suspend(here: Place) -> None:
    storage = here.storage()
    await storage.put("stored", 1)
    await storage.sync()
    storage.put("queued", 2)
    assert at_once(storage.get("stored")) == 1
    assert at_once(storage.get("queued")) == 2
    assert at_once(storage.get(["stored", "queued", "missing"])) == {"stored": 1, "queued": 2}
    assert at_once(storage.list()) == {"queued": 2, "stored": 1}
    assert at_once(storage.put("k", 1)) is None
    assert at_once(storage.delete("stored")) is True
    assert at_once(storage.delete(["queued", "k", "missing"])) == 2
    assert at_once(storage.get_alarm()) is None
    assert at_once(storage.set_alarm(5)) is None
    assert at_once(storage.delete_all()) is None


async def test_dropped_awaitables_take_effect_and_warn_of_nothing(here: Place) -> None:
    storage = here.storage()
    storage.put("a", 1)
    storage.put({"b": 2, "c": 3})
    storage.delete("a")
    storage.delete(["b"])
    storage.set_alarm(7)
    await storage.sync()
    assert await here.storage().list() == {"c": 3}
    assert await here.storage().get_alarm() == 7.0


async def test_a_counter_read_and_written_without_another_await_loses_no_increment(here: Place) -> None:
    storage = here.storage()

    async def increment() -> None:
        await asyncio.sleep(0)
        count = await storage.get("n", 0)
        storage.put("n", count + 1)
        await asyncio.sleep(0)

    await asyncio.gather(*[increment() for _ in range(200)])
    await storage.sync()
    assert await here.storage().get("n") == 200


async def test_values_are_copied_in_and_out(here: Place) -> None:
    storage = here.storage()
    value = {"list": [1]}
    storage.put("k", value)
    value["list"].append(2)
    first = await storage.get("k")
    first["list"].append(3)
    assert await storage.get("k") == {"list": [1]}


async def test_missing_keys_give_the_default_and_a_stored_none_is_none(here: Place) -> None:
    storage = here.storage()
    storage.put("none", None)
    assert await storage.get("missing") is None
    assert await storage.get("missing", 5) == 5
    assert await storage.get("none", 5) is None


async def test_many_keys_come_in_the_order_of_their_utf8_bytes(here: Place) -> None:
    storage = here.storage()
    keys = ["é", "z", "a", "\U0001f600", "\uffff", "aa", "Z"]
    storage.put({key: key for key in keys})
    expected = sorted(keys, key=str.encode)
    assert list(await storage.get(keys)) == expected
    await storage.sync()
    assert list(await storage.get(keys)) == expected
    assert list(await storage.list()) == expected
    assert list(await storage.list(reverse=True)) == expected[::-1]


async def test_more_keys_than_a_query_takes_are_read_and_deleted(here: Place) -> None:
    storage = here.storage()
    values = {f"{n:05}": n for n in range(2000)}
    storage.put(values)
    await storage.sync()
    assert await storage.get(list(values)) == values
    assert await storage.delete([*values, "missing"]) == 2000
    assert await storage.list() == {}


@pytest.mark.parametrize("synced", [False, True], ids=["queued", "stored"])
async def test_list_takes_bounds_prefixes_limits_and_directions(here: Place, synced: bool) -> None:
    storage = here.storage()
    storage.put({key: key for key in ("a", "b", "b1", "b2", "b2x", "c", "d")})
    if synced:
        await storage.sync()
    storage.delete("b1")

    async def keys(**options: Any) -> str:
        return " ".join(await storage.list(**options))

    assert await keys() == "a b b2 b2x c d"
    assert await keys(prefix="b") == "b b2 b2x"
    assert await keys(prefix="b", limit=2) == "b b2"
    assert await keys(prefix="b", limit=2, reverse=True) == "b2x b2"
    assert await keys(start="b2", end="d") == "b2 b2x c"
    assert await keys(start_after="b2", end="d") == "b2x c"
    assert await keys(start="b1", limit=1) == "b2"
    assert await keys(prefix="b", start="b2x") == "b2x"
    assert await keys(prefix="b", end="b2x") == "b b2"
    assert await keys(prefix="x") == ""
    assert await keys(start="c", end="b") == ""
    assert await keys(end="") == ""
    assert await keys(prefix="", start="", start_after=None) == "a b b2 b2x c d"


async def test_list_refuses_options_that_make_no_sense(here: Place) -> None:
    storage = here.storage()
    with pytest.raises(ValueError, match="start or start_after"):
        await storage.list(start="a", start_after="a")
    for limit in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="positive int"):
            await storage.list(limit=limit)  # type: ignore[arg-type]  # refused at run time, too


async def test_objects_do_not_see_each_other(here: Place) -> None:
    one, two = here.storage(1), here.storage(2)
    one.put("k", 1)
    two.put("k", 2)
    one.delete_all()
    one.put("after", 1)
    await asyncio.gather(one.sync(), two.sync())
    assert await here.storage(1).list() == {"after": 1}
    assert await here.storage(2).list() == {"k": 2}


async def test_delete_says_what_was_there(here: Place) -> None:
    storage = here.storage()
    storage.put("k", 1)
    assert await storage.delete("k") is True
    assert await storage.delete("k") is False
    storage.put({"a": 1, "b": 2})
    await storage.sync()
    outcome = storage.delete(["a", "b", "b", "c"])
    storage.put("a", 3)
    assert await outcome == 2
    assert await storage.list() == {"a": 3}


async def test_delete_all_deletes_keys_alarm_and_database_and_what_follows_stays(here: Place) -> None:
    storage = here.storage()
    storage.put({"a": 1, "b": 2})
    storage.set_alarm(5)
    storage.sql.exec("CREATE TABLE t (x)")
    await storage.sync()
    storage.put("c", 3)
    storage.delete_all()
    assert await storage.list() == {}
    assert await storage.get("a") is None
    assert await storage.get_alarm() is None
    storage.put("d", 4)
    assert await storage.list() == {"d": 4}
    await storage.sync()
    assert await here.storage().list() == {"d": 4}
    assert await here.storage().get_alarm() is None
    assert storage.sql.exec("SELECT count(*) AS n FROM sqlite_schema").one() == {"n": 0}


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("", ValueError, "'' has 0"),
        ("x" * 2049, ValueError, "has 2,049"),
        ("é" * 1025, ValueError, "has 2,050"),
        ("\ud800", ValueError, "lone surrogate"),
        (5, TypeError, r"a str, not int \(5\)"),
        (None, TypeError, "not NoneType"),
        (b"k", TypeError, "not bytes"),
    ],
)
async def test_a_key_that_does_not_fit_is_refused_by_name(
    here: Place, key: Any, error: type[Exception], message: str
) -> None:
    storage = here.storage()
    with pytest.raises(error, match=message):
        storage.put({"good": 1, key: 2})
    if not isinstance(key, bytes | type(None)):
        with pytest.raises((ValueError, TypeError)):
            await storage.get(key)
    assert await storage.list() == {}
    assert here.writes == 0


async def test_the_longest_key_and_the_largest_value_fit(here: Place) -> None:
    storage = here.storage()
    key, value = "k" * 2048, b"x" * (2 * 2**20 - 6)
    storage.put(key, value)
    await storage.sync()
    assert await here.storage().get(key) == value


async def test_a_value_that_does_not_fit_is_refused_by_its_key(here: Place) -> None:
    storage = here.storage()
    with pytest.raises(ValueError, match=r"the value of storage key 'big' takes 2,097,1.. bytes encoded"):
        storage.put("big", b"x" * 2 * 2**20)
    with pytest.raises(TypeError, match="the value of storage key 'bad': 'object' values cannot be stored"):
        storage.put({"good": 1, "bad": [object()]})
    with pytest.raises(TypeError, match="a key and a value"):
        storage.put("k")  # type: ignore[call-overload]  # refused at run time, too
    with pytest.raises(TypeError, match="a key and a value"):
        storage.put({"k": 1}, 2)  # type: ignore[call-overload]  # refused at run time, too
    assert await storage.list() == {}


async def test_every_write_renews_the_activity_and_no_read_does(here: Place) -> None:
    storage = here.storage()
    writes: list[Callable[[], object]] = [
        lambda: storage.put("a", 1),
        lambda: storage.delete("a"),
        lambda: storage.set_alarm(1),
        storage.delete_alarm,
        storage.delete_all,
        lambda: storage.sql.exec("CREATE TABLE t (x)"),
    ]
    for count, write in enumerate(writes, start=1):
        write()
        assert here.writes == count
    await storage.get("a")
    await storage.list()
    await storage.get_alarm()
    storage.sql.exec("SELECT * FROM t")
    await storage.sync()
    assert here.writes == len(writes)


# --- groups and gates -----------------------------------------------------------------------------------------------


async def test_pending_is_there_until_all_writes_are_durable(here: Place) -> None:
    storage = here.storage()
    assert storage.pending() is None
    storage.put("a", 1)
    gate = storage.pending()
    assert gate is not None
    await gate
    assert storage.pending() is None
    storage.put("b", 1)
    storage.sql.exec("CREATE TABLE t (x)")
    gate = storage.pending()
    assert gate is not None
    await gate
    assert storage.pending() is None


async def test_an_overlay_entry_outlives_the_commit_of_an_older_value(here: Place) -> None:
    storage = here.storage()
    storage.put("k", "old")
    older = storage.pending()
    assert older is not None
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    storage.put("k", "new")
    await older
    assert await storage.get("k") == "new"
    await storage.sync()
    assert await here.storage().get("k") == "new"


async def fail(here: Place, storage: Storage) -> None:
    """Have the store refuse what the storage writes in this turn."""
    storage._group.write("not sql", ())
    with pytest.raises(StoreError):
        await storage.sync()


async def test_a_failed_unit_is_reported_closes_the_gate_and_reset_goes_back_to_what_is_stored(here: Place) -> None:
    storage = here.storage()
    storage.put("k", "stored")
    storage.set_alarm(1)
    await storage.sync()
    storage.put("k", "lost")
    storage.delete_alarm()
    await fail(here, storage)
    assert len(here.failures) == 1
    with pytest.raises(StoreError):
        await storage.get("k")
    with pytest.raises(StoreError):
        storage.put("k", "refused")
    gate = storage.pending()
    assert gate is not None
    with pytest.raises(StoreError):
        await gate
    storage.reset()
    assert await storage.get("k") == "stored"
    assert await storage.get_alarm() == 1.0
    storage.put("k", "again")
    await storage.sync()
    assert await here.storage().get("k") == "again"


async def test_a_failed_unit_of_one_object_is_none_of_anothers(here: Place) -> None:
    one, two = here.storage(1), here.storage(2)
    two.put("k", 2)
    await fail(here, one)
    await two.sync()
    assert await here.storage(2).get("k") == 2


async def test_reset_without_a_failure_keeps_what_was_written(here: Place) -> None:
    storage = here.storage()
    storage.put("k", 1)
    storage.reset()
    assert await storage.get("k") == 1
    await storage.sync()
    assert await here.storage().get("k") == 1


async def test_a_damaged_value_is_an_error_that_names_its_key(here: Place) -> None:
    storage = here.storage()
    storage.put("k", 1)
    await storage.sync()
    await here.store.group("damage").write("UPDATE objects_keys SET value = ?", (b"\x09",))
    with pytest.raises(StoreError, match="the value of storage key 'k': a stored value has the unknown format"):
        await storage.get("k")


# --- transactions ---------------------------------------------------------------------------------------------------


async def test_a_transaction_is_applied_when_its_closure_returns(here: Place) -> None:
    storage = here.storage()
    storage.put({"a": 1, "b": 2, "c": 3})

    async def closure(txn: Transaction) -> str:
        txn.put("a", await txn.get("a") + 10)
        assert await txn.delete("b") is True
        txn.put({"d": 4, "e": 5})
        assert await txn.delete(["e", "missing"]) == 1
        await asyncio.sleep(0)
        assert await txn.get(["a", "b", "c", "e"]) == {"a": 11, "c": 3}
        assert await txn.list() == {"a": 11, "c": 3, "d": 4}
        assert await txn.list(start="b", limit=1) == {"c": 3}
        assert await storage.list() == {"a": 1, "b": 2, "c": 3}
        return "result"

    assert await storage.transaction(closure) == "result"
    assert await storage.list() == {"a": 11, "c": 3, "d": 4}
    await storage.sync()
    assert await here.storage().list() == {"a": 11, "c": 3, "d": 4}


async def test_a_transaction_that_raises_or_rolls_back_leaves_nothing(here: Place) -> None:
    storage = here.storage()
    storage.put("a", 1)

    async def raises(txn: Transaction) -> None:
        txn.put("a", 2)
        raise LookupError("mine")

    async def rolls_back(txn: Transaction) -> str:
        txn.delete("a")
        txn.rollback()
        with pytest.raises(RuntimeError, match="has ended"):
            txn.put("a", 3)
        with pytest.raises(RuntimeError, match="has ended"):
            await txn.get("a")
        return "rolled back"

    with pytest.raises(LookupError, match="mine"):
        await storage.transaction(raises)
    assert await storage.transaction(rolls_back) == "rolled back"
    assert await storage.list() == {"a": 1}


async def test_a_transaction_cannot_be_used_after_its_closure(here: Place) -> None:
    kept: list[Transaction] = []

    async def closure(txn: Transaction) -> None:
        kept.append(txn)

    await here.storage().transaction(closure)
    with pytest.raises(RuntimeError, match="has ended"):
        kept[0].put("a", 1)


async def test_a_transaction_runs_in_the_objects_gate_and_its_errors_do_not_reach_the_gate(here: Place) -> None:
    inside: list[str] = []

    async def gate(closure: Callable[[], Awaitable[Any]]) -> Any:
        inside.append("closed")
        try:
            return await closure()
        except Exception:
            inside.append("reset")
            raise
        finally:
            inside.append("open")

    storage = here.storage(exclusive=gate)

    async def closure(txn: Transaction) -> int:
        inside.append("run")
        txn.put("a", 1)
        return 5

    async def raises(txn: Transaction) -> None:
        raise LookupError("mine")

    assert await storage.transaction(closure) == 5
    assert await storage.get("a") == 1
    with pytest.raises(LookupError, match="mine"):
        await storage.transaction(raises)
    assert inside == ["closed", "run", "open", "closed", "open"]
