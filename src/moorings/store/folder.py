"""The data folder: one platform at a time, nobody else's eyes, nothing for git.

The lock is the kernel's (flock), so it ends with its holder, however that ends; the file's text only says who holds
it. A process that is forked without exec would inherit the lock: helpers of the platform are started by exec.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from moorings.errors import StoreError, StoreLocked

LOCK_NAME: Final = "lock"


class DataFolder:
    """A locked data folder. ``path`` is absolute."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path, *, started_at: float, command: Sequence[str] | None = None) -> DataFolder:
        """Create the folder where it is missing, and lock it. ``started_at`` is in Unix seconds, for the lock's text.

        Raises StoreLocked where another process holds it, StoreError where it can't be created or written.
        """
        path = path.absolute()
        try:
            _create(path)
            lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"the data folder {path} cannot be written ({error.strerror}): check its permissions and its mount, "
                "or name another with --data-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(lock)
            os.close(lock)
            raise StoreLocked(
                f"the data folder {path} is in use by {holder}; stop it, or name another folder with --data-dir"
            ) from None
        folder = cls(path, lock)
        try:
            folder._sign(started_at, sys.orig_argv if command is None else command)
        except OSError as error:
            folder.close()
            raise StoreError(f"the data folder {path} cannot be written ({error.strerror})") from error
        return folder

    def _sign(self, started_at: float, command: Sequence[str]) -> None:
        assert self._lock is not None
        holder = {
            "pid": os.getpid(),
            "started_at": started_at,
            "command": shlex.join(command),
            "folder": str(self.path),
        }
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps(holder).encode() + b"\n", 0)

    def close(self) -> None:
        """Let others have the folder; idempotent."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                os.ftruncate(lock, 0)
            finally:
                os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _create(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _holder(lock: int) -> str:
    try:
        holder = json.loads(os.pread(lock, 65536, 0))
        return f"process {holder['pid']} ({holder['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process, which has not signed its lock"


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable. Blocks; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
