"""What outlives a supervisor: one folder per incarnation with its record and its private folders.

The folder is made before the program is spawned, ``run/<token>/record`` written when its pid is known, and again with
its end. So a supervisor that was killed leaves a list of what it parented (a folder without a record is one that died
in between), and exit codes wait for a platform however long that is away. Nothing is fsynced: after a power cut no
process is left to find, and what should have run is known to the store.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import msgspec

from moorings.runtimes.process.paths import Layout
from moorings.runtimes.process.wire import Ending, Incarnation


class Record(msgspec.Struct, gc=False):
    """An incarnation, the boot it belongs to, its end if it has ended, and then its last lines."""

    boot: str
    incarnation: Incarnation
    ending: Ending | None = None
    tail: list[bytes] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Records:
    """The folders below ``run/``."""

    __slots__ = ("_count", "_layout")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._count = 0

    def make(self, token: str) -> tuple[str, str]:
        """The private HOME and TMPDIR of a new incarnation. Raises OSError."""
        folder = self._layout.incarnation(token)
        home, tmp = os.path.join(folder, "home"), os.path.join(folder, "tmp")
        for path in (folder, home, tmp):
            os.mkdir(path, 0o700)
        return home, tmp

    def write(self, record: Record) -> None:
        """Replace the record. Raises OSError."""
        path = os.path.join(self._layout.incarnation(record.incarnation.token), "record")
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, _encoder.encode(record))
        finally:
            os.close(descriptor)
        os.replace(path + ".new", path)

    def empty(self, token: str) -> list[str]:
        """Remove the private folders. Returns those still to be deleted with their content. Never raises."""
        folder = self._layout.incarnation(token)
        waste = []
        for name in ("home", "tmp"):
            path = os.path.join(folder, name)
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError:
                waste.append(self._discard(path))
        return waste

    def remove(self, token: str) -> list[str]:
        """Remove everything of an incarnation, as ``empty`` does."""
        waste = self.empty(token)
        folder = self._layout.incarnation(token)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, "record"))
            os.rmdir(folder)
        except FileNotFoundError:
            return waste
        except OSError:
            waste.append(self._discard(folder))
        return waste

    def _discard(self, path: str) -> str:
        self._count += 1
        target = os.path.join(self._layout.trash, f"{os.getpid()}-{self._count}")
        try:
            os.rename(path, target)
        except OSError:  # a full disk can refuse even this; the next supervisor tries again
            return path
        return target

    def all(self) -> Iterator[tuple[str, Record | None]]:
        """Each folder that an earlier supervisor left, with its record where that can be read."""
        try:
            names = os.listdir(self._layout.run)
        except FileNotFoundError:
            return
        for name in names:
            folder = os.path.join(self._layout.run, name)
            if folder == self._layout.trash:
                continue
            try:
                with open(os.path.join(folder, "record"), "rb") as file:
                    yield folder, _decoder.decode(file.read())
            except (OSError, msgspec.MsgspecError):
                yield folder, None

    def discard(self, folder: str) -> str:
        """Put a folder aside. Returns where its content is still to be deleted. Never raises."""
        return self._discard(folder)
