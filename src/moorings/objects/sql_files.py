"""The private databases of all objects, and the few threads that sync them.

Made by the composition root and handed to every storage; closed after the last object.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from moorings.objects.sql_file import SqlFile
from moorings.store import Synchronous
from moorings.store.loan import Loan

JobError: TypeAlias = OSError | sqlite3.Error
Done: TypeAlias = Callable[[JobError | None], None]


class SqlFiles:
    """``FOLDER/<first byte of the id in hex>/<id>.sqlite``. Made on the running loop; the folder need not exist."""

    def __init__(
        self,
        folder: Path,
        *,
        synchronous: Synchronous = Synchronous.FULL,
        threads: int = 4,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic`` gives seconds that really pass: it limits how long a statement holds up the loop."""
        self.monotonic = monotonic
        self.folder = folder
        self.synchronous = synchronous
        self._loop = asyncio.get_running_loop()
        self._loan = Loan(self._loop)
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="moorings-sql")
        self._running = 0
        self._idle: asyncio.Future[None] | None = None
        self._open: dict[Path, set[SqlFile]] = {}

    def path(self, object_id: bytes) -> Path:
        """Where the database of an object is, or would be."""
        digits = object_id.hex()
        return self.folder / digits[:2] / f"{digits}.sqlite"

    def open(self, object_id: bytes) -> SqlFile:
        """Open or create an object's database. Raises StoreError."""
        file = SqlFile(self, self.path(object_id))
        self._open.setdefault(file.path, set()).add(file)
        return file

    def forget(self, file: SqlFile, *, empty: bool) -> None:
        """``file`` is closed; where nothing is in it, and nobody has opened it again, it is removed."""
        others = self._open[file.path]
        others.discard(file)
        if not others:
            del self._open[file.path]
            if empty:
                file.path.unlink(missing_ok=True)

    def run(self, job: Callable[[], None], done: Done) -> None:
        """Run ``job`` on a worker thread, then ``done`` with its error, if any, on the loop's."""
        self._running += 1
        if self._running == 1:
            self._loan.begin(waiting=True)
        self._workers.submit(self._work, job, done)

    def _work(self, job: Callable[[], None], done: Done) -> None:
        error: JobError | None = None
        try:
            job()
        except (OSError, sqlite3.Error) as raised:
            error = raised
        try:
            self._loop.call_soon_threadsafe(self._worked, done, error)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return
        self._loan.returned()

    def _worked(self, done: Done, error: JobError | None) -> None:
        self._running -= 1
        if self._running == 0:
            self._loan.end()
        done(error)
        if self._running == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def close(self) -> None:
        """Close every file, durably, and end the threads; idempotent."""
        for files in list(self._open.values()):
            for file in list(files):
                file.close()
        while self._running:
            if self._idle is None or self._idle.done():
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)
        self._workers.shutdown(wait=True)
