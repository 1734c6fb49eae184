"""``python:3.11-slim`` without a registry: this machine's Python, a shell and a few tools, as a root file system.

So an example's Dockerfile reads as a user would write it (``FROM python:3.11-slim``, ``RUN pip install``: what the
examples install is there already). Made in seconds; kept by content in ``.venv`` beside the interpreter.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from io import BytesIO
from pathlib import Path

NAME = "python:3.11-slim"
"""What the image is called."""

_TOOLS = ["sh", "cat", "cp", "dd", "df", "echo", "env", "false", "head", "id", "kill", "ln", "ls", "mkdir", "mv"]
_TOOLS += ["ps", "rm", "sleep", "tail", "touch", "true", "uname", "wc", "yes"]
_PACKAGES = ["pip", "websockets", "grpcio", "typing_extensions", "prometheus_client", "protobuf"]
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
_LEFT_OUT |= {"lib2to3", "pydoc_data", "__pycache__"}
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_HOME = f"usr/local/lib/python{_VERSION}"


def base_image() -> Path:
    """The root file system as a tar file."""
    entries = dict(_entries())
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name, source in sorted(entries.items()):
        status = source.stat()
        digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    kept = Path(sys.prefix) / f"base-image-{digest.hexdigest()[:16]}.tar"
    if not kept.exists():
        for old in kept.parent.glob("base-image-*.tar"):
            old.unlink(missing_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        _write(unfinished, entries)
        unfinished.rename(kept)
    return kept


def _entries() -> Iterator[tuple[str, Path]]:
    """Paths in the image and the files that are there."""
    python = Path(os.path.realpath(sys.executable))
    stdlib = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    programs = [Path(found) for tool in _TOOLS if (found := shutil.which(tool, path="/bin:/usr/bin"))]
    for name in ("python", "python3", f"python{_VERSION}"):
        yield f"usr/local/bin/{name}", python
    for program in programs:
        yield f"bin/{program.name}", program
    libraries = [python, *programs]
    for source in _tree(stdlib):
        yield f"{_HOME}/{source.relative_to(stdlib)}", source
        if source.suffix == ".so":
            libraries.append(source)
    for source, name in _installed():
        yield f"{_HOME}/site-packages/{name}", source
        if ".so" in source.suffixes:
            libraries.append(source)
    for library in _shared(libraries):
        yield library.lstrip("/"), Path(os.path.realpath(library))


def _tree(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(folder, file) for file in files if Path(folder, file).is_file())


def _installed() -> Iterator[tuple[Path, str]]:
    for package in _PACKAGES:
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            source = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                yield source, str(file)


def _shared(files: Iterable[Path]) -> set[str]:
    """The shared libraries that files need, by the paths at which they are looked for."""
    told = subprocess.run(["ldd", *files], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return set(re.findall(r"(?:=> |\t)(/\S+) \(0x", told.stdout))


def _write(path: Path, entries: dict[str, Path]) -> None:
    with tarfile.open(path, "w") as tar:
        for folder in ("tmp", "root", "etc", "proc", "sys", "dev", "run", "var", "var/tmp", "home"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
            tar.addfile(made)
        for name, text in (
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n"),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
            (
                "usr/local/bin/pip",
                f"#!/usr/local/bin/python{_VERSION}\nfrom pip._internal.cli.main import main\nmain()\n",
            ),
        ):
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(text), 0o755 if "/bin/" in name else 0o644
            tar.addfile(file, BytesIO(text.encode()))
        for name, source in entries.items():
            info = tarfile.TarInfo(name)
            status = source.stat()
            info.size, info.mode, info.mtime = status.st_size, status.st_mode & 0o755 | 0o444, status.st_mtime
            with source.open("rb") as content:
                tar.addfile(info, content)
