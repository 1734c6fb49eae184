"""SQLite's errors as sentences with a next step. The one place that knows its result codes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from moorings.errors import StoreError

FOREIGN_ERRORS = (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError, TypeError, MemoryError)
"""What the sqlite3 module raises for statements and parameters, its own classes and Python's."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error; 0 where it has none."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0


def is_damage(error: BaseException) -> bool:
    """Whether the error says that the file is not a sound database."""
    return primary_code(error) in _DAMAGED


def damaged(path: Path, detail: str) -> StoreError:
    """The error for a file that is not a sound database."""
    return StoreError(
        f"the database {path} is damaged ({detail}). It was left as it is. Keep a copy of its whole folder, then put a "
        f"backup in its place, or recover what can be read: sqlite3 {path} .recover | sqlite3 recovered.sqlite"
    )


def translate(error: BaseException, path: Path) -> StoreError:
    """The StoreError for what a statement on the database at ``path`` raised; the original is its cause."""
    translated = _sentence(error, path)
    translated.__cause__ = error
    return translated


def _sentence(error: BaseException, path: Path) -> StoreError:
    if isinstance(error, StoreError):
        return error
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    detail = f"{name}: {error}"
    match primary_code(error):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, detail)
        case sqlite3.SQLITE_FULL:
            return StoreError(
                f"the disk is full ({detail}): nothing of this write is stored in {path}; free some space"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return StoreError(f"{path} cannot be written ({detail}): check the folder's permissions and its mount")
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"the disk failed while {path} was written or read ({detail}); see the kernel's log")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(f"another program holds a lock on {path} ({detail}); end it")
        case sqlite3.SQLITE_CONSTRAINT:
            return StoreError(f"the database refused a write ({detail})")
    return StoreError(f"a statement failed in {path.name} ({detail})")
