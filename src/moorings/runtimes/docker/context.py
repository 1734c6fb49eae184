"""The build context of a folder: what is in it, a digest of that, and the tar file that the Engine wants.

The digest covers paths, contents, what is executable, links and the build's variables, and nothing that a copy of the
folder would have otherwise (times, owners): the same content has the same tag on every machine. The tar file leaves
those out too, so that the Engine's build cache knows it again.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moorings.runtimes.docker.ignoring import DOCKERFILE, DOCKERIGNORE, Ignore

_ALWAYS_OUT = ".moorings"  # a data folder


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the context. ``path`` is relative, with slashes."""

    path: str
    source: Path
    mode: int


def entries(folder: Path) -> Iterator[Entry]:
    """What is in the context, in order. Raises OSError, and ValueError for a mistake in .dockerignore. Blocks."""
    ignore = Ignore.read(folder)
    for current, names, files in os.walk(folder):
        here = Path(current)
        kept = []
        for name in sorted(names):
            path = (here / name).relative_to(folder).as_posix()
            if name == _ALWAYS_OUT:
                continue
            ignored = ignore.ignores(path)
            if (here / name).is_symlink():
                files.append(name)
            elif not ignored or ignore.has_exceptions:
                kept.append(name)
                if not ignored:
                    yield Entry(path, here / name, stat.S_IFDIR | 0o755)
        names[:] = kept
        for name in sorted(files):
            path = (here / name).relative_to(folder).as_posix()
            needed = path in (DOCKERFILE, DOCKERIGNORE)  # the Engine has to see them
            if needed or not ignore.ignores(path):
                mode = (here / name).lstat().st_mode
                if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                    yield Entry(path, here / name, mode)


def digest(folder: Path, variables: Mapping[str, str]) -> str:
    """16 hex digits that tell the context's content and the build's variables. Raises OSError, ValueError. Blocks."""
    total = hashlib.sha256(b"1\n")
    for key, value in sorted(variables.items()):
        total.update(f"{key}={value}\0".encode())
    for entry in sorted(entries(folder), key=lambda each: each.path):
        total.update(f"\0{entry.path}\0{_kind(entry.mode)}\0".encode("utf-8", "surrogateescape"))
        if stat.S_ISLNK(entry.mode):
            total.update(os.fsencode(os.readlink(entry.source)))
        elif stat.S_ISREG(entry.mode):
            with entry.source.open("rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()[:16]


def write_tar(folder: Path, out: IO[bytes]) -> None:
    """Write the context as a tar file. Raises OSError, ValueError. Blocks."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries(folder):
            info = tarfile.TarInfo(entry.path)
            info.mode = 0o755 if entry.mode & 0o111 else 0o644
            if stat.S_ISDIR(entry.mode):
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif stat.S_ISLNK(entry.mode):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(entry.source)
                tar.addfile(info)
            else:
                with entry.source.open("rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    tar.addfile(info, content)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "d"
    if stat.S_ISLNK(mode):
        return "l"
    return "x" if mode & 0o111 else "f"
