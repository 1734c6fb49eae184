"""What a configuration file says about the classes of a worker file, held against those classes.

The file's own mistakes (types, unknown keys) are found by ``moorings.config``; those that only show beside the classes
are found here: a class that isn't there, a name in ``env`` that is taken, an expression that is no cron, no handler.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moorings.config.file import ConfigFile
from moorings.config.parsing import names_in_env, shown
from moorings.config.schema import Configuration, ContainerEntry, InstanceSize
from moorings.containers.options import Overrides
from moorings.worker.cron_expression import CronExpression
from moorings.worker.entrypoint import WorkerEntrypoint
from moorings.worker.env import binding_name
from moorings.worker.queue_settings import queue_mismatches

_NOT_ATTRIBUTES: Final = frozenset({"class_name", "name"})
"""Fields of a ``containers`` entry that are not attributes of the class."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is run with beside its code.

    ``bindings`` has the names in ``env`` of each class that the file gives one, ``variables`` what else is in ``env``.
    ``overrides`` has an entry per Container class that the file speaks of.
    """

    file: Path | None = None
    configuration: Configuration = field(default_factory=Configuration)
    bindings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Overrides] = field(default_factory=dict)
    crons: tuple[CronExpression, ...] = ()
    warnings: tuple[str, ...] = ()

    def names(self, class_name: str) -> tuple[str, ...]:
        """The names of a class in ``env``: those that the file gives, else its own name in capitals."""
        return self.bindings.get(class_name) or (binding_name(class_name),)


def read_settings(config: ConfigFile, base: Path) -> tuple[Settings, list[str]]:
    """The settings for a worker file that lies in ``base``, and the mistakes in the configuration up to here."""
    configuration = config.configuration
    mistakes = list(config.mistakes)
    warnings = list(config.warnings)
    bindings: dict[str, tuple[str, ...]] = {}
    if configuration.durable_objects is not None:
        for index, binding in enumerate(configuration.durable_objects.bindings or ()):
            if binding.script_name is not None:
                path = f"durable_objects.bindings[{index}]"
                warnings.append(f"{config.path.name}: {path} is of another worker (script_name), so it is not bound")
            elif binding.name and binding.class_name:
                bindings[binding.class_name] = (*bindings.get(binding.class_name, ()), binding.name)
    for index, workflow in enumerate(configuration.workflows or ()):
        if workflow.script_name is not None:
            path = f"workflows[{index}]"
            warnings.append(f"{config.path.name}: {path} is of another worker (script_name), so it is not bound")
        elif workflow.binding and workflow.class_name:
            bindings[workflow.class_name] = (*bindings.get(workflow.class_name, ()), workflow.binding)
    overrides: dict[str, Overrides] = {}
    for index, entry in enumerate(configuration.containers or ()):
        values = _attributes(entry, config, base)
        overrides.setdefault(entry.class_name, Overrides(f"containers[{index}]", values))
    crons = []
    for index, text in enumerate((configuration.triggers and configuration.triggers.crons) or ()):
        try:
            crons += [CronExpression(text)] if text else []
        except ValueError as error:
            wanted = "a cron expression (minute hour day month weekday)"
            mistakes.append(f"triggers.crons[{index}]: expected {wanted}, got {shown(text)}: {error}")
    return (
        Settings(
            file=config.path,
            configuration=configuration,
            bindings=bindings,
            variables=configuration.vars or {},
            overrides=overrides,
            crons=tuple(crons),
            warnings=tuple(warnings),
        ),
        mistakes,
    )


def mismatches(
    settings: Settings,
    *,
    worker_file: Path,
    worker: type[WorkerEntrypoint] | None,
    objects: Collection[str],
    containers: Collection[str],
    workflows: Collection[str] = (),
) -> list[str]:
    """What the file says that doesn't fit the worker's classes (given by name)."""
    configuration = settings.configuration
    found = [mistake for overrides in settings.overrides.values() for mistake in overrides.mistakes]
    for index, entry in enumerate(configuration.containers or ()):
        if entry.class_name and entry.class_name not in containers:
            wanted = f"a Container class of {worker_file.name} ({_listed(containers)})"
            found.append(f"containers[{index}].class_name: expected {wanted}, got {shown(entry.class_name)}")
    for index, binding in enumerate((configuration.durable_objects and configuration.durable_objects.bindings) or ()):
        if binding.class_name and binding.class_name not in objects and binding.script_name is None:
            wanted = f"a class of {worker_file.name} that env can have ({_listed(objects)})"
            path = f"durable_objects.bindings[{index}].class_name"
            found.append(f"{path}: expected {wanted}, got {shown(binding.class_name)}")
    defaults = {binding_name(name): name for name in (*objects, *workflows) if name not in settings.bindings}
    found += [
        f"{path}: expected a name of its own in env, {name} is that of the class {defaults[name]} already"
        for name, path in names_in_env(configuration)
        if name in defaults
    ]
    if settings.crons and worker is not None and worker.scheduled is WorkerEntrypoint.scheduled:
        wanted = f"the class {worker.__name__} to have async def scheduled(self, controller)"
        found.append(f"triggers.crons: expected {wanted}, got crons that nothing answers")
    return found + queue_mismatches(configuration, worker)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "it has none"


def _attributes(entry: ContainerEntry, config: ConfigFile, base: Path) -> dict[str, Any]:
    """The attributes of the class that an entry says something of, as the class would have them."""
    values = {
        name: value
        for name in entry.__struct_fields__
        if name not in _NOT_ATTRIBUTES and (value := getattr(entry, name)) is not None
    }
    if isinstance(entry.instance_type, InstanceSize):
        sizes = {name: getattr(entry.instance_type, name) for name in entry.instance_type.__struct_fields__}
        values["instance_type"] = {name: value for name, value in sizes.items() if value is not None}
    if entry.image is not None:
        values["image"] = _image(entry.image, config, base)
    return values


def _image(image: str, config: ConfigFile, base: Path) -> str:
    """An image as the class would name it: a folder beside the worker's file rather than the configuration's.

    wrangler's configurations name the Dockerfile; the class names its folder.
    """
    path = config.resolve(image)
    if path.name == "Dockerfile" and path.is_file():
        path = path.parent
    elif not path.is_dir():
        return image
    return os.path.relpath(path, base)
