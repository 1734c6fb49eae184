"""Loading the user's file: which classes it has, and whether they and the configuration file fit.

The module is loaded anew under a name of its own each time, together with the modules that lie in its folder and below,
so a reload sees every change and an error in the new version leaves the old one as it was. What is installed is kept.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from moorings.config.file import find_config, read_config
from moorings.containers.container import Container
from moorings.containers.options import ContainerOptions, hook_mistakes, read_options
from moorings.errors import ConfigError
from moorings.objects.durable_object import DurableObject
from moorings.worker.entrypoint import WorkerEntrypoint
from moorings.worker.env import binding_name
from moorings.worker.queue_settings import unheard
from moorings.worker.settings import Settings, mismatches, read_settings
from moorings.worker.workflows import read_workflows
from moorings.workflows.definitions import Definition
from moorings.workflows.entrypoint import WorkflowEntrypoint

_versions = itertools.count(1)

_INSTALLED = tuple({Path(path).resolve() for name, path in sysconfig.get_paths().items() if name.endswith("lib")})
"""Folders of the standard library and of installed packages."""


class NotLoaded(ConfigError):
    """The worker's file raised while it was loaded; the cause is what it raised."""


@dataclass(frozen=True, slots=True)
class Application:
    """What a worker file defines, and its configuration. ``options`` has an entry per Container class.

    ``workflows`` has the names in ``env`` of each.
    """

    file: Path
    worker: type[WorkerEntrypoint]
    objects: Mapping[str, type[DurableObject]]
    options: Mapping[str, ContainerOptions]
    settings: Settings = field(default_factory=Settings)
    workflows: Mapping[str, Definition] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The app's name: what the configuration says, else that of the worker's folder."""
        return self.settings.configuration.name or self.file.parent.name or "app"

    @property
    def bindings(self) -> dict[str, str]:
        """Names in ``env`` and the class that each stands for."""
        return {name: class_name for class_name in self.objects for name in self.settings.names(class_name)}

    @property
    def classes(self) -> dict[str, str]:
        """``bindings``, and those of workflows."""
        return {**self.bindings, **{name: definition.cls.__name__ for name, definition in self.workflows.items()}}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know of the configuration: sentences."""
        overrides = (w for o in self.settings.overrides.values() for w in o.warnings)
        return (*self.settings.warnings, *overrides, *unheard(self.worker, self.settings.configuration))


def load_application(file: Path, config: Path | None = None, *, data: Path | None = None) -> Application:
    """Load a worker file, with the configuration file ``config``, or the one in that folder: beside it unless given.

    Modules in ``data``, the data folder, are none of the worker's.

    Raises ConfigError: no such file, an error in it, classes or settings that don't fit (all at once, by file).
    """
    file = file.resolve()
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; give the worker's file, such as: moorings dev worker.py")
    place = config or file.parent
    found = find_config(place) if place.is_dir() else read_config(place)
    settings, config_mistakes = (Settings(), []) if found is None else read_settings(found, file.parent)
    try:
        module = _import(file, data)
    except ConfigError as error:
        if config_mistakes:
            raise ConfigError(f"{_told(settings.file, config_mistakes)}\n{error}") from None
        raise
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    mistakes: list[str] = []
    objects = {cls.__name__: cls for cls in classes if issubclass(cls, DurableObject)}
    containers = {name: cls for name, cls in objects.items() if issubclass(cls, Container)}
    options: dict[str, ContainerOptions] = {}
    for name, cls in objects.items():
        if name not in containers:
            mistakes += hook_mistakes(cls, {"alarm": ()})
    for name, cls in containers.items():
        try:
            options[name] = read_options(cls, file.parent, settings.overrides.get(name))
        except ConfigError as error:
            mistakes.append(str(error))
    flows = {cls.__name__: cls for cls in classes if issubclass(cls, WorkflowEntrypoint)}
    mistakes += _collisions((*objects, *flows), settings)
    workflows, wrong_entries, wrong_classes = read_workflows(flows, settings, file)
    config_mistakes += wrong_entries
    mistakes += wrong_classes
    worker = _worker(file, [cls for cls in classes if issubclass(cls, WorkerEntrypoint)], mistakes)
    config_mistakes += mismatches(
        settings, worker_file=file, worker=worker, objects=objects, containers=containers, workflows=flows
    )
    if mistakes or config_mistakes or worker is None:
        raise ConfigError("\n".join(filter(None, [_told(settings.file, config_mistakes), _told(file, mistakes)])))
    return Application(file, worker, objects, options, settings, workflows)


def _told(file: Path | None, mistakes: list[str]) -> str:
    return "\n".join([f"{file}:", *mistakes]) if mistakes else ""


def _collisions(objects: Iterable[str], settings: Settings) -> list[str]:
    """Classes that would have the same name in ``env`` by themselves; ``mismatches`` tells of those that are given."""
    owners: dict[str, list[str]] = {}
    for class_name in objects:
        if class_name not in settings.bindings:
            owners.setdefault(binding_name(class_name), []).append(class_name)
    return [
        f"classes {' and '.join(names)} would both be {name} in env: rename one of them"
        for name, names in owners.items()
        if len(names) > 1
    ]


def _worker(file: Path, candidates: list[type[WorkerEntrypoint]], mistakes: list[str]) -> type[WorkerEntrypoint] | None:
    named = [cls for cls in candidates if cls.__name__ == "Default"]
    chosen = named or candidates
    if len(chosen) == 1:
        mistakes += _handler_mistakes(chosen[0])
        return chosen[0]
    if not candidates:
        mistakes.append(
            "no WorkerEntrypoint: write class Default(WorkerEntrypoint) with async def fetch(self, request)"
        )
    else:
        names = ", ".join(cls.__name__ for cls in candidates)
        mistakes.append(f"several WorkerEntrypoint classes ({names}): name the one that answers requests Default")
    return None


def _handler_mistakes(worker: type[WorkerEntrypoint]) -> list[str]:
    """Handlers are called with one argument; Cloudflare's Python workers may have them with env and ctx as well."""
    return [
        mistake
        for name, parameter in (("scheduled", "controller"), ("queue", "batch"))
        if (mistake := _handler_mistake(worker, name, parameter))
    ]


def _handler_mistake(worker: type[WorkerEntrypoint], name: str, parameter: str) -> str:
    handler = inspect.getattr_static(worker, name)
    wanted = f"async def {name}(self, {parameter})"
    if not inspect.isfunction(handler):
        return f"{worker.__name__}.{name} must be a method: {wanted}"
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        has = f"{name}{inspect.signature(handler)}"
        return f"{worker.__name__}.{has} can't be called: write {wanted}, and self.env for what is in env"
    return ""


def _is_workers(path: Path, folder: Path, data: Path | None) -> bool:
    """Whether a module that lies at ``path`` is the worker's own: in its folder, and neither installed nor data."""
    if not path.is_relative_to(folder) or (data is not None and path.is_relative_to(data)):
        return False
    inner = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") or part in ("site-packages", "dist-packages", "node_modules") for part in inner):
        return False
    if any((folder.joinpath(*inner[:depth]) / "pyvenv.cfg").exists() for depth in range(1, len(inner) + 1)):
        return False
    return path.parent == folder or not any(path.is_relative_to(place) for place in _INSTALLED)


def _places(module: ModuleType) -> Iterator[Path]:
    """Where a module lies: its file, or for a package without one (a namespace package) its folders."""
    origin = getattr(module, "__file__", None)
    if isinstance(origin, str):
        yield Path(origin)
    elif isinstance(module, ModuleType):
        with contextlib.suppress(KeyError):  # the parent of a namespace package was taken out of sys.modules
            yield from [Path(folder) / "__init__.py" for folder in getattr(module, "__path__", ())]


def _forget(folder: Path, data: Path | None) -> None:
    """Let the modules of the worker's folder be imported anew."""
    kept = ("__main__", "moorings", *sys.builtin_module_names)
    stale = [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] not in kept and any(_is_workers(path, folder, data) for path in _places(module))
    ]
    for name in stale:  # only now: a namespace package asks its parent where it lies
        del sys.modules[name]
    importlib.invalidate_caches()


def _import(file: Path, data: Path | None) -> ModuleType:
    name = f"moorings_app_{next(_versions)}"
    folder = str(file.parent)
    _forget(file.parent, data)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file}: is no Python file; give the worker's file, such as: moorings dev worker.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        lines = traceback.format_exception(error)
        raise NotLoaded(f"{file} could not be loaded:\n{''.join(lines).rstrip()}") from error
    return module
