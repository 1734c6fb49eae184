"""The SQLite store on a real disk: opening, migrating, and what happens when the disk does not play along."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from moorings.clock import ManualClock
from moorings.errors import StoreError
from moorings.store import Migration, SqliteStore, Synchronous
from moorings.store.sqlite import FILE_NAME

FIRST = Migration("test", 1, ("CREATE TABLE item (k INTEGER PRIMARY KEY, v)",))
SECOND = Migration(
    "test", 2, ("ALTER TABLE item ADD COLUMN extra TEXT DEFAULT 'none'", "CREATE INDEX item_v ON item (v)")
)
PUT = "INSERT INTO item (k, v) VALUES (?, ?)"


async def opened(
    folder: Path, migrations: Sequence[Migration] = (FIRST,), *, synchronous: Synchronous = Synchronous.FULL
) -> SqliteStore:
    return await SqliteStore.open(folder, migrations=migrations, clock=ManualClock(start=5.0), synchronous=synchronous)


async def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.group("g").write(PUT, (1, b"\x00\xff"))
    await store.close()
    store = await opened(tmp_path)
    assert await store.read("SELECT * FROM item") == [(1, b"\x00\xff")]
    await store.close()
    assert sorted(os.listdir(tmp_path)) == [FILE_NAME]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("setting", "number"), [(Synchronous.FULL, 2), (Synchronous.NORMAL, 1), (Synchronous.OFF, 0)])
async def test_the_writer_commits_in_wal_mode_as_synchronously_as_it_was_told(
    tmp_path: Path, setting: Synchronous, number: int
) -> None:
    store = await opened(tmp_path, synchronous=setting)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()


async def test_migrations_are_applied_once_in_order_and_recorded(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.group("g").write(PUT, (1, "kept"))
    await store.close()
    store = await opened(tmp_path, (FIRST, SECOND, Migration("other", 1, ("CREATE TABLE o (x)",))))
    assert await store.read("SELECT k, v, extra FROM item") == [(1, "kept", "none")]
    recorded = await store.read("SELECT package, number, applied_at FROM moorings_migrations ORDER BY 1, 2")
    assert recorded == [("other", 1, 5.0), ("test", 1, 5.0), ("test", 2, 5.0)]
    await store.close()
    await (await opened(tmp_path, (FIRST, SECOND, Migration("other", 1, ("CREATE TABLE o (x)",))))).close()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    broken = Migration("test", 3, ("CREATE TABLE third (x)", "not sql"))
    with pytest.raises(StoreError, match="syntax error"):
        await opened(tmp_path, (FIRST, SECOND, broken))
    store = await opened(tmp_path)
    assert await store.read("SELECT count(*) FROM pragma_table_info('item')") == [(2,)]
    await store.close()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await opened(tmp_path, (FIRST, SECOND))).close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match=r"newer version of Moorings \(it has the schema steps test 2"):
        await opened(tmp_path, (FIRST,))
    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_migrations_with_a_gap_are_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not numbered 1, 2, 3, ...: \[2\]"):
        await opened(tmp_path, (SECOND,))


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="database of another program"):
        await opened(tmp_path)


async def filled(folder: Path) -> None:
    store = await opened(folder)
    group = store.group("g")
    for k in range(2000):
        group.write(PUT, (k, "x" * 100))
    await store.close()


@pytest.mark.parametrize("damage", ["header", "middle", "cut"])
async def test_a_damaged_file_gives_one_message_and_is_left_as_it_is(tmp_path: Path, damage: str) -> None:
    await filled(tmp_path)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = b"\x55" * 100
    elif damage == "middle":
        content[8192:40960] = b"\xaa" * 32768
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    with pytest.raises(StoreError) as refused:
        await opened(tmp_path)
    message = str(refused.value)
    assert str(path) in message
    assert "is damaged" in message
    assert "left as it is" in message
    assert ".recover" in message
    assert path.read_bytes() == content


async def test_a_folder_that_is_missing_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        await opened(tmp_path / "missing")


async def test_a_database_that_becomes_read_only_refuses_writers_and_serves_readers(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.group("g").write(PUT, (1, "x"))
    store._connection.execute("PRAGMA query_only=ON")
    commits = [store.group(f"g{k}").write(PUT, (k, "x")) for k in (2, 3)]
    for commit in commits:
        with pytest.raises(StoreError, match="cannot be written"):
            await commit
    assert await store.read("SELECT k FROM item") == [(1,)]
    store._connection.execute("PRAGMA query_only=OFF")
    await store.group("g").write(PUT, (4, "x"))
    await store.close()


async def test_a_full_database_refuses_the_large_write_stores_the_small_ones_and_recovers(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count={pages + 20}")
    small = [store.group(f"s{k}").write(PUT, (k, "x")) for k in range(5)]
    large = store.group("large").write(PUT, (100, b"x" * 500_000))
    later = [store.group(f"s{k}").write(PUT, (k, "x")) for k in range(5, 10)]
    with pytest.raises(StoreError, match="disk is full"):
        await large
    for commit in small + later:
        await commit
    assert await store.read("SELECT count(*) FROM item") == [(10,)]
    store._connection.execute("PRAGMA max_page_count=1000000")
    await store.group("large").write(PUT, (100, b"x" * 500_000))
    await store.close()


async def test_another_programs_long_read_keeps_nobody_waiting_and_the_log_is_emptied_after_it(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.group("g").write(PUT, (-1, "x"))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM item").fetchall()
    group = store.group("g")
    for k in range(3000):
        group.write(PUT, (k, "x" * 200))
        if k % 500 == 0:
            await group.write(PUT, (-k - 2, "x"))
    await store.flush()
    assert store.writer.checkpoint_error is None
    other.execute("COMMIT")
    other.close()
    await store.close()
    assert sorted(os.listdir(tmp_path)) == [FILE_NAME]


def can_mount() -> bool:
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


ON_A_SMALL_DISK = """
    import asyncio, os, sys
    from pathlib import Path
    from moorings.clock import SystemClock
    from moorings.errors import StoreError
    from moorings.store import DataFolder, Migration, SqliteStore

    async def main():
        folder = DataFolder.open(Path(sys.argv[1]) / "data", started_at=0.0)
        step = Migration("test", 1, ("CREATE TABLE item (k INTEGER PRIMARY KEY, v)",))
        store = await SqliteStore.open(folder.path, migrations=[step], clock=SystemClock())
        await store.group("g").write("INSERT INTO item (k, v) VALUES (?, ?)", (0, "first"))
        ballast = Path(sys.argv[1]) / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                print("disk full")
        stored, refused = [0], 0
        for k in range(1, 40):
            try:
                await store.group("g").write("INSERT INTO item (k, v) VALUES (?, ?)", (k, "x" * 20000))
                stored.append(k)
            except StoreError as error:
                refused += 1
                message = str(error)
            assert await store.read("SELECT k FROM item ORDER BY k") == [(k,) for k in stored]
        print(refused > 0, message)
        ballast.unlink()
        await store.group("g").write("INSERT INTO item (k, v) VALUES (?, ?)", (100, "x" * 20000))
        await store.close()
        store = await SqliteStore.open(folder.path, migrations=[step], clock=SystemClock())
        assert await store.read("SELECT k FROM item WHERE k < 100 ORDER BY k") == [(k,) for k in stored]
        await store.close()
        print("recovered")

    asyncio.run(main())
"""


ON_A_READ_ONLY_DISK = """
    import sys
    from pathlib import Path
    from moorings.errors import StoreError
    from moorings.store import DataFolder

    try:
        DataFolder.open(Path(sys.argv[1]) / "data", started_at=0.0)
    except StoreError as error:
        print(error)
"""


def run_on_a_disk(mount: str, script: str, folder: Path) -> str:
    """The output of a Python script whose first argument is a disk mounted for it alone."""
    program = folder / "script.py"
    program.write_text(textwrap.dedent(script))
    disk = folder / "disk"
    disk.mkdir()
    shell = f"{mount.format(disk=disk)} && exec {sys.executable} {program} {disk}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small tmpfs")
def test_a_full_disk_is_a_clear_error_to_writers_only_and_recovery_follows_space(tmp_path: Path) -> None:
    output = run_on_a_disk("mount -t tmpfs -o size=700k none {disk}", ON_A_SMALL_DISK, tmp_path).splitlines()
    assert output[0] == "disk full"
    assert output[1].startswith("True the disk is full")
    assert output[2] == "recovered"


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small tmpfs")
def test_a_read_only_folder_gives_one_message_that_names_it(tmp_path: Path) -> None:
    output = run_on_a_disk("mount -t tmpfs -o ro,size=700k none {disk}", ON_A_READ_ONLY_DISK, tmp_path)
    assert output.startswith(f"the data folder {tmp_path / 'disk' / 'data'} cannot be written (Read-only file system)")


async def test_the_writers_log_is_moved_into_the_database_as_it_grows(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    group = store.group("g")
    for batch in range(20):
        for k in range(500):
            group.write(PUT, (batch * 500 + k, "x" * 400))
        await asyncio.sleep(0)
        commit = group.pending()
        assert commit is not None
        await commit
    size = (tmp_path / f"{FILE_NAME}-wal").stat().st_size
    assert size < 4_000_000  # 10,000 rows of 400 bytes have gone through it
    await store.close()
