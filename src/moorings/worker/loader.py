"""Loading the user's file: which classes it has, and whether they fit.

The module is loaded anew under a name of its own each time, together with the modules that lie beside it, so a
reload sees every change and an error in the new version leaves the old one as it was.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from moorings.containers.container import Container
from moorings.containers.options import ContainerOptions, read_options
from moorings.errors import ConfigError
from moorings.objects.durable_object import DurableObject
from moorings.worker.entrypoint import WorkerEntrypoint

_versions = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Application:
    """What a worker file defines. ``options`` has an entry per Container class."""

    file: Path
    worker: type[WorkerEntrypoint]
    objects: Mapping[str, type[DurableObject]]
    options: Mapping[str, ContainerOptions]

    @property
    def name(self) -> str:
        """The app's name: that of the worker's folder."""
        return self.file.parent.name or "app"


def load_application(file: Path) -> Application:
    """Load a worker file. Raises ConfigError: no such file, an error in it, or classes that don't fit (all at once)."""
    file = file.resolve()
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; give the worker's file, such as: moorings dev worker.py")
    module = _import(file)
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    mistakes: list[str] = []
    objects: dict[str, type[DurableObject]] = {}
    options: dict[str, ContainerOptions] = {}
    for cls in classes:
        if not issubclass(cls, DurableObject):
            continue
        objects[cls.__name__] = cls
        if issubclass(cls, Container):
            try:
                options[cls.__name__] = read_options(cls, file.parent)
            except ConfigError as error:
                mistakes.append(str(error))
    worker = _worker(file, [cls for cls in classes if issubclass(cls, WorkerEntrypoint)], mistakes)
    if mistakes or worker is None:
        raise ConfigError(f"{file}:\n" + "\n".join(mistakes))
    return Application(file, worker, objects, options)


def _worker(file: Path, candidates: list[type[WorkerEntrypoint]], mistakes: list[str]) -> type[WorkerEntrypoint] | None:
    named = [cls for cls in candidates if cls.__name__ == "Default"]
    chosen = named or candidates
    if len(chosen) == 1:
        return chosen[0]
    if not candidates:
        mistakes.append(
            "no WorkerEntrypoint: write class Default(WorkerEntrypoint) with async def fetch(self, request)"
        )
    else:
        names = ", ".join(cls.__name__ for cls in candidates)
        mistakes.append(f"several WorkerEntrypoint classes ({names}): name the one that answers requests Default")
    return None


def _import(file: Path) -> ModuleType:
    name = f"moorings_app_{next(_versions)}"
    folder = str(file.parent)
    for known, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin is not None and Path(origin).parent == file.parent and not known.startswith("moorings."):
            del sys.modules[known]
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
        raise ConfigError(f"{file} could not be loaded:\n{''.join(lines).rstrip()}") from error
    return module
