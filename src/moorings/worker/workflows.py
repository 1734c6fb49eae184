"""Which workflows an app has: the classes of its file, with what its configuration says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moorings.config.parsing import shown
from moorings.errors import ConfigError
from moorings.worker.settings import Settings
from moorings.workflows.definitions import Definition, define
from moorings.workflows.entrypoint import WorkflowEntrypoint


def read_workflows(
    classes: Mapping[str, type[WorkflowEntrypoint]], settings: Settings, file: Path
) -> tuple[dict[str, Definition], list[str], list[str]]:
    """Names in ``env`` and the workflow of each, mistakes in the configuration, and mistakes in the worker's file.

    A class that the configuration doesn't name is bound under its own name in capitals, and stored under its own name.
    """
    bound: dict[str, Definition] = {}
    config_mistakes: list[str] = []
    mistakes: list[str] = []
    names: dict[str, str] = {}
    for index, entry in enumerate(settings.configuration.workflows or ()):
        if entry.script_name is not None or not entry.class_name:
            continue
        cls = classes.get(entry.class_name)
        if cls is None:
            known = ", ".join(sorted(classes)) or "it has none"
            wanted = f"a WorkflowEntrypoint class of {file.name} ({known})"
            config_mistakes.append(f"workflows[{index}].class_name: expected {wanted}, got {shown(entry.class_name)}")
        elif names.setdefault(entry.name, entry.class_name) != entry.class_name:
            wanted = f"a name of its own, {entry.name} is that of {names[entry.name]} already"
            config_mistakes.append(f"workflows[{index}].name: expected {wanted}")
        else:
            try:
                bound[entry.binding] = define(
                    cls, name=entry.name, max_concurrency=entry.max_concurrency, retention=entry.retention
                )
            except ConfigError as error:
                mistakes.append(str(error))
    for class_name, cls in classes.items():
        if class_name not in settings.bindings:
            try:
                bound[settings.names(class_name)[0]] = define(cls)
            except ConfigError as error:
                mistakes.append(str(error))
    return bound, config_mistakes, mistakes
