"""Reload on change, for ``dev``: which files count, and what a change of each asks for.

Decided purely (``plan``), from two snapshots of the worker's folder. Events of the file system only say when to look;
every ``LOOK`` seconds it is looked anyway, for what slips past them. What counts:

* ``*.py`` in the worker's folder and below, the configuration, ``.dev.vars`` and the env file: the worker is loaded
  anew. Containers go on running unless the options they were started with have changed.
* ``*.py`` in a class's ``image`` folder, and files named in an ``entrypoint``: they are the container's program, so the
  running containers of that class are stopped, and started anew by their next request. Other files there are left
  alone: programs write data where they run.
* Of a class that runs on Docker, all that its image is built from: nothing runs in that folder.

Hidden folders, virtual environments, ``__pycache__``, ``node_modules`` and the data folder are not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from watchfiles import awatch

from moorings.cli.reporting.reporter import Reporter, Restarted
from moorings.config.file import config_files
from moorings.containers.controller import Controller
from moorings.containers.options import StartOptions
from moorings.errors import ConfigError
from moorings.observer import ErrorReported, Notice
from moorings.runtimes.docker.ignoring import DOCKERFILE, DOCKERIGNORES, Ignore
from moorings.server.platform import Platform
from moorings.worker.loader import Application


@dataclass(frozen=True, slots=True)
class Look:
    """What a file is like. ``touched`` is its ctime (Unix seconds), which no tool can set back."""

    modified: int
    size: int
    inode: int
    touched: float = field(compare=False)


Snapshot = Mapping[Path, Look]

LOOK = 2.0
"""Seconds after which the files are looked at although nothing was heard of a change."""

GRANULARITY = 0.01
"""Seconds by which a file system's times may lag behind the clock."""

_IGNORED = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What changed files ask for.

    ``worker`` is one of the files it is loaded anew for; ``programs`` has, for each class whose program changed, one of
    its files, and ``outdated`` the Unix time before which its containers were started with the old one.
    """

    worker: Path | None
    programs: Mapping[str, Path]
    outdated: Mapping[str, float]


def folders(root: Path, data: Path) -> Iterator[Path]:
    """``root`` and the folders below it that are looked at."""
    for current, names, _ in os.walk(root):
        here = Path(current)
        yield here
        names[:] = [name for name in names if not _is_ignored(here / name, data)]


def _is_ignored(folder: Path, data: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in _IGNORED or folder == data or (folder / "pyvenv.cfg").exists()


def program_files(app: Application) -> dict[Path, set[str]]:
    """Files that an ``entrypoint`` names, and the classes that run them."""
    found: dict[Path, set[str]] = {}
    for class_name, options in app.options.items():
        for argument in options.start.entrypoint:
            path = options.start.directory / argument
            with contextlib.suppress(OSError, ValueError):
                if path.is_file():
                    found.setdefault(path.resolve(), set()).add(class_name)
    return found


def image_files(folder: Path, data: Path) -> Iterator[Path]:
    """What an image is built from, but for hidden files and editors' backups. Nothing where .dockerignore is wrong."""
    always = tuple(folder / name for name in (DOCKERFILE, *DOCKERIGNORES))
    try:
        ignore = Ignore.read(folder)
    except (OSError, ValueError):
        ignore = Ignore(["**"])
    yield from always
    for place in folders(folder, data):
        with contextlib.suppress(OSError):
            for entry in os.scandir(place):
                path = Path(entry.path)
                plain = not entry.name.startswith(".") and not entry.name.endswith("~") and entry.is_file()
                if plain and path not in always and not ignore.ignores(path.relative_to(folder).as_posix()):
                    yield path


def snapshot(places: Iterable[Path], extra: Iterable[Path]) -> Snapshot:
    """What the Python files in ``places`` and the ``extra`` files are like now."""
    found: dict[Path, Look] = {}
    candidates = list(extra)
    for place in places:
        with contextlib.suppress(OSError):
            candidates += [Path(entry.path) for entry in os.scandir(place) if entry.name.endswith(".py")]
    for path in candidates:
        with contextlib.suppress(OSError):
            status = path.stat()
            found[path] = Look(status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime)
    return found


def rebased(old: Snapshot, fresh: Snapshot, extra: Iterable[Path], always: Iterable[Path]) -> Snapshot:
    """``old`` with the files of ``extra`` that it doesn't have, because nothing named them then; and without others.

    Files of ``always`` were looked for then too: one that ``old`` doesn't have is new.
    """
    named = {path for path in extra if path.suffix != ".py"}
    kept = {path: look for path, look in old.items() if path.suffix == ".py" or path in named}
    return kept | {path: fresh[path] for path in named.difference(always) & fresh.keys() - old.keys()}


def plan(before: Snapshot, now: Snapshot, app: Application, *, time: float) -> Plan:
    """What the difference between two snapshots, the later of them taken at ``time`` (Unix seconds), asks for."""
    programs: dict[str, Path] = {}
    outdated: dict[str, float] = {}
    worker: Path | None = None
    named = program_files(app)
    changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    for path in changed:
        owners = {
            name
            for name, options in app.options.items()
            if options.start.directory != app.file.parent and path.is_relative_to(options.start.directory)
        }
        owners |= named.get(path, set())
        for owner in owners:
            programs.setdefault(owner, path)
            touched = now[path].touched + GRANULARITY if path in now else time
            outdated[owner] = max(touched, outdated.get(owner, 0.0))
        if not owners or path == app.file:
            worker = path if worker is None or path == app.file else worker
    return Plan(worker, programs, outdated)


def difference(old: StartOptions | None, new: StartOptions | None) -> str:
    """Why a container started with ``old`` is outdated: ``entrypoint changed``. None stands for no such class."""
    if new is None:
        return "class removed"
    if old is None:
        return "class put back"
    names = [item.name for item in fields(StartOptions)]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    return f"{', '.join(changed)} changed"


class Reloader:
    """Watches the worker's folder and brings the platform up to date."""

    def __init__(self, platform: Platform, reporter: Reporter) -> None:
        self._platform = platform
        self._reporter = reporter
        self._file = platform.options.file.resolve()
        self._data = platform.options.data
        self._before: Snapshot = {}
        self._variables = [self._file.parent / ".dev.vars", *config_files(platform.options.config or self._file.parent)]
        if platform.options.env_file is not None:
            self._variables.append(platform.options.env_file.resolve())

    def before_start(self) -> None:
        """Remember what the files are like. Call it before they are loaded: what is saved meanwhile is a change."""
        self._before = self._look()

    async def work(self) -> None:
        """Watch until cancelled. Ends early, with a warning, where the system can't watch files."""
        now = await self._rebased(self._before)
        while True:
            try:
                now = await self._watch(now)
            except FileNotFoundError:  # a folder went away between being listed and being watched
                await asyncio.sleep(LOOK)
            except OSError as error:
                self._reporter.notify(Notice("warning", f"files can't be watched, so nothing is reloaded: {error}"))
                return

    async def _watch(self, now: Snapshot) -> Snapshot:
        """Watch the folders there are until there are others. Returns what their files are like."""
        places = self._places()
        changes = awatch(
            *places,
            watch_filter=None,
            recursive=False,
            step=30,
            debounce=400,
            rust_timeout=int(LOOK * 1000),
            yield_on_timeout=True,
        )
        async with contextlib.aclosing(changes):
            while True:
                before, now = now, await asyncio.to_thread(self._look)
                if now != before:
                    await self._bring_up_to_date(before, now)
                    now = await self._rebased(now)
                await anext(changes)
                if await asyncio.to_thread(self._places) != places:
                    break
        return now

    async def _rebased(self, before: Snapshot) -> Snapshot:
        """``before`` with what is looked at only now as it is now."""
        fresh, extra = await asyncio.to_thread(lambda: (self._look(), self._extra()))
        outside = {path: look for path, look in fresh.items() if not path.is_relative_to(self._file.parent)}
        return {**outside, **rebased(before, fresh, extra, self._variables)}

    def _places(self) -> list[Path]:
        """The folders to watch."""
        places = list(folders(self._file.parent, self._data))
        others = {path.parent for path in self._extra() if path.parent.is_dir()}
        return places + sorted(others.difference(places))

    def _extra(self) -> list[Path]:
        app = self._platform.app
        images = self._platform.image_folders - {self._file.parent}
        built = [path for folder in images for path in image_files(folder, self._data)]
        return self._variables + ([] if app is None else list(program_files(app))) + built

    def _look(self) -> Snapshot:
        return snapshot(folders(self._file.parent, self._data), self._extra())

    async def _bring_up_to_date(self, before: Snapshot, now: Snapshot) -> None:
        old = self._platform.app
        assert old is not None
        clock = self._platform.clock
        wanted = plan(before, now, old, time=clock.time())
        began = clock.monotonic()
        restarted: list[Restarted] = []
        bindings, variables = self._platform.bindings, self._platform.variables
        what = self._relative(wanted.worker) if wanted.worker is not None else ""
        try:
            if wanted.worker is not None:
                outdated = await self._platform.reload()
                restarted += [_restarted(controller, old, self._platform.app) for controller in outdated]
            if wanted.programs:
                what = what or self._relative(next(iter(wanted.programs.values())))
                controllers = await self._platform.restart(wanted.outdated)
                reasons = {name: f"{self._relative(path)} changed" for name, path in wanted.programs.items()}
                known = {item.subject for item in restarted}
                restarted += [
                    Restarted(controller.subject, reasons[controller.subject.class_name])
                    for controller in controllers
                    if controller.subject not in known
                ]
        except ConfigError as error:
            self._reporter.not_reloaded(what, error)
        except Exception as error:  # noqa: BLE001 - a hook of the user's may raise anything; watching goes on
            self._reporter.notify(ErrorReported(f"reloading {what}", error))
        else:
            self._reporter.reloaded(what, clock.monotonic() - began, restarted)
            added = {name: cls for name, cls in self._platform.bindings.items() if bindings.get(name) != cls}
            named = [name for name in self._platform.variables if name not in variables]
            if added or named:
                self._reporter.bound(self._platform.app or old, added, named)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self._file.parent)


def _restarted(controller: Controller, old: Application, new: Application | None) -> Restarted:
    name = controller.subject.class_name
    return Restarted(controller.subject, difference(_start_options(old, name), _start_options(new, name)))


def _start_options(app: Application | None, class_name: str) -> StartOptions | None:
    options = None if app is None else app.options.get(class_name)
    return None if options is None else options.start
