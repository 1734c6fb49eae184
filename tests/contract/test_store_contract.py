"""What every store promises, whatever database is behind it. Each implementation runs all of these."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorings.clock import SystemClock
from moorings.errors import StoreConflict, StoreError
from moorings.store import Commit, Migration, SqliteStore, Store

MIGRATIONS = [
    Migration("test", 1, ("CREATE TABLE item (owner TEXT NOT NULL, k INTEGER NOT NULL, v, PRIMARY KEY (owner, k))",))
]
PUT = "INSERT INTO item (owner, k, v) VALUES (?, ?, ?)"
GET = "SELECT owner, k, v FROM item ORDER BY owner, k"


async def sqlite(folder: Path) -> Store:
    return await SqliteStore.open(folder, migrations=MIGRATIONS, clock=SystemClock())


@pytest.fixture(params=[sqlite])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await request.param(tmp_path)
    yield opened
    await opened.close()


async def turns(count: int = 1) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_write_is_readable_once_its_commit_is_done(store: Store) -> None:
    commit = store.group("a").write(PUT, ("a", 1, "x"))
    assert await store.read(GET) == []
    assert not commit.done()
    await commit
    assert commit.done()
    assert commit.error is None
    assert await store.read(GET) == [("a", 1, "x")]


async def test_a_read_never_suspends_its_caller_on_sqlite(store: Store) -> None:
    await store.group("a").write(PUT, ("a", 1, None))
    reading = store.read(GET)
    assert inspect.iscoroutine(reading)
    with pytest.raises(StopIteration) as answered:
        reading.send(None)
    assert answered.value.value == [("a", 1, None)]


async def test_one_commit_covers_what_a_group_writes_in_one_turn(store: Store) -> None:
    group, other = store.group("a"), store.group("b")
    first, second = group.write(PUT, ("a", 1, None)), group.write(PUT, ("a", 2, None))
    assert first is second
    assert other.write(PUT, ("b", 1, None)) is not first
    await turns(2)
    third = group.write(PUT, ("a", 3, None))
    assert third is not first
    await third
    assert first.done()


async def test_pending_is_the_last_commit_until_everything_is_durable(store: Store) -> None:
    group = store.group("a")
    assert group.pending() is None
    group.write(PUT, ("a", 1, None))
    await turns(2)
    last = group.write(PUT, ("a", 2, None))
    assert group.pending() is last
    await last
    assert group.pending() is None


async def test_a_groups_statements_run_in_the_order_of_the_calls(store: Store) -> None:
    group = store.group("a")
    group.write(PUT, ("a", 1, "first"))
    group.write("UPDATE item SET v = v || ' then second' WHERE k = ?", (1,))
    await turns(2)
    await group.write("UPDATE item SET v = v || ' then third' WHERE k = ?", (1,))
    assert await store.read(GET) == [("a", 1, "first then second then third")]


async def test_a_unit_is_stored_as_a_whole_or_not_at_all_and_fails_alone(store: Store) -> None:
    good, bad, last = store.group("good"), store.group("bad"), store.group("last")
    good.write(PUT, ("good", 1, None))
    bad.write(PUT, ("bad", 1, None))
    bad.write(PUT, ("bad", 1, "again"))  # the key is taken
    last.write(PUT, ("last", 1, None))
    commits = [group.pending() for group in (good, bad, last)]
    for commit in commits:
        assert commit is not None
        if commit is commits[1]:
            with pytest.raises(StoreError, match="UNIQUE"):
                await commit
        else:
            await commit
    assert await store.read(GET) == [("good", 1, None), ("last", 1, None)]


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        ("INSERT INTO nowhere VALUES (?)", (1,)),
        ("not sql at all", ()),
        (PUT, ("bad", 1)),
        (PUT, ("bad", 2**70, None)),
        (PUT, ("bad", 1, object())),
        (PUT, ("\ud800", 1, None)),
    ],
    ids=["no table", "no sql", "missing parameter", "large int", "no such type", "lone surrogate"],
)
async def test_a_statement_that_cannot_run_fails_its_group_alone(
    store: Store, sql: str, args: tuple[object, ...]
) -> None:
    good, bad = store.group("good"), store.group("bad")
    failing = bad.write(sql, args)
    await good.write(PUT, ("good", 1, None))
    with pytest.raises(StoreError):
        await failing
    assert await store.read(GET) == [("good", 1, None)]


async def test_what_a_group_queued_behind_its_failure_fails_with_it(store: Store) -> None:
    failures: list[StoreError] = []
    group = store.group("bad", on_failure=failures.append)
    other = store.group("other")
    first = group.write("not sql", ())
    behind: list[Commit] = []
    while not first.done():
        behind.append(group.write(PUT, ("bad", len(behind), None)))
        other.write(PUT, ("other", len(behind), None))
        await turns()
    assert len(behind) > 1
    for commit in behind:
        with pytest.raises(StoreError):
            await commit
    last = other.pending()
    if last is not None:
        await last
    assert {owner for owner, _, _ in await store.read(GET)} == {"other"}
    assert len(failures) == 1


async def test_a_failed_group_takes_no_more_writes_and_a_new_one_does(store: Store) -> None:
    group = store.group("obj")
    failing = group.write("not sql", ())
    with pytest.raises(StoreError):
        await failing
    assert group.failed is not None
    with pytest.raises(StoreError, match="obj: an earlier write was not stored"):
        group.write(PUT, ("obj", 1, None))
    pending = group.pending()
    assert pending is not None
    with pytest.raises(StoreError):
        await pending
    await store.group("obj").write(PUT, ("obj", 1, None))


async def test_a_write_in_the_very_turn_that_brings_the_failure_is_refused(store: Store) -> None:
    group = store.group("obj")
    refused: list[bool] = []

    def write_again(commit: Commit) -> None:
        try:
            group.write(PUT, ("obj", 9, None))
        except StoreError:
            refused.append(True)

    failing = group.write("not sql", ())
    failing.add_done_callback(write_again)
    while not failing.done():
        group.write(PUT, ("obj", 1, None))  # keeps a unit of the current turn open
        await turns()
    assert refused == [True]
    assert await store.read(GET) == []


async def test_a_write_that_changes_an_unexpected_number_of_rows_is_a_conflict(store: Store) -> None:
    owner = store.group("owner")
    await owner.write(PUT, ("o", 1, "mine"))
    await owner.write("UPDATE item SET v = 'still mine' WHERE k = ? AND v = ?", (1, "mine"), expect=1)
    late = store.group("late")
    late.write(PUT, ("late", 1, None))
    conflict = late.write("UPDATE item SET v = 'theirs' WHERE k = ? AND v = ?", (1, "mine"), expect=1)
    with pytest.raises(StoreConflict, match="changed 0 rows where it had to change 1"):
        await conflict
    assert await store.read(GET) == [("o", 1, "still mine")]


async def test_a_thousand_groups_of_one_turn_share_a_transaction(store: Store) -> None:
    assert isinstance(store, SqliteStore)
    before = store.commits
    commits = [store.group(f"g{n}").write(PUT, (f"g{n:04}", n, n)) for n in range(1000)]
    for commit in commits:
        await commit
    assert store.commits == before + 1
    assert await store.read(GET) == [(f"g{n:04}", n, n) for n in range(1000)]


async def test_one_failing_group_among_a_thousand_fails_alone(store: Store) -> None:
    commits = {n: store.group(f"g{n}").write(PUT, (f"g{n:04}", n if n != 500 else None, n)) for n in range(1000)}
    for n, commit in commits.items():
        if n == 500:
            with pytest.raises(StoreError, match="NOT NULL"):
                await commit
        else:
            await commit
    assert len(await store.read(GET)) == 999


async def test_dropped_commits_are_stored_all_the_same_and_warn_of_nothing(store: Store) -> None:
    store.group("a").write(PUT, ("a", 1, None))
    store.group("bad").write("not sql", ())
    await store.group("b").write(PUT, ("b", 1, None))
    assert len(await store.read(GET)) == 2


async def test_a_cancelled_wait_neither_stops_the_write_nor_other_waiters(store: Store) -> None:
    commit = store.group("a").write(PUT, ("a", 1, None))

    async def wait() -> None:
        await commit

    waiters = [asyncio.create_task(wait()) for _ in range(3)]
    await turns()
    waiters[0].cancel()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None]
    assert await store.read(GET) == [("a", 1, None)]


async def test_callbacks_run_in_order_and_at_once_where_the_outcome_is_known(store: Store) -> None:
    order: list[int] = []
    commit = store.group("a").write(PUT, ("a", 1, None))
    commit.add_done_callback(lambda done: order.append(1))
    commit.add_done_callback(lambda done: order.append(2))
    await commit
    commit.add_done_callback(lambda done: order.append(3))
    assert order == [1, 2, 3]


async def test_a_callback_that_raises_keeps_nobody_from_their_outcome(store: Store) -> None:
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))

    def broken(anything: object) -> None:
        raise RuntimeError("mine")

    bad = store.group("bad", on_failure=broken)
    bad.write("not sql", ()).add_done_callback(broken)
    await store.group("a").write(PUT, ("a", 1, None))
    await store.group("a").write(PUT, ("a", 2, None))
    assert reported == ["a commit's callback failed", "on_failure of bad failed"]


async def test_a_query_that_fails_is_a_store_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no such table"):
        await store.read("SELECT * FROM nowhere")


async def test_reads_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.read(PUT, ("a", 1, None))
    assert await store.read(GET) == []


async def test_close_commits_what_is_queued_and_refuses_the_rest(store: Store) -> None:
    group = store.group("a")
    commit = group.write(PUT, ("a", 1, None))
    await asyncio.gather(store.close(), store.close())
    assert commit.done()
    assert commit.error is None
    with pytest.raises(StoreError, match="closed"):
        group.write(PUT, ("a", 2, None))
    with pytest.raises(StoreError, match="closed"):
        await store.read(GET)
