"""What an app says of its workflows: a class each, how many may run, and how long an ended instance is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moorings.config.durations import seconds
from moorings.errors import ConfigError
from moorings.workflows.entrypoint import WorkflowEntrypoint
from moorings.workflows.step import check_run


@dataclass(frozen=True, slots=True)
class Definition:
    """A workflow: its name, under which instances are stored, its class, and the settings of both."""

    name: str
    cls: type[WorkflowEntrypoint]
    max_concurrency: int
    retention: float


def define(
    cls: type[WorkflowEntrypoint],
    *,
    name: str | None = None,
    max_concurrency: int | None = None,
    retention: str | float | None = None,
) -> Definition:
    """The workflow of a class; the options are the configuration's, which win. Raises ConfigError."""
    mistakes = check_run(cls)
    most = cls.max_concurrency if max_concurrency is None else max_concurrency
    if type(most) is not int or most < 1:
        mistakes.append(f"{cls.__name__}.max_concurrency is a whole number from 1 on, not {most!r:.80}")
    kept: object = cls.retention if retention is None else retention
    period = 0.0
    try:
        if not isinstance(kept, str | int | float | timedelta):
            raise TypeError(f"a duration is a number of seconds, a timedelta or a text such as '5m', not {kept!r:.80}")
        period = seconds(kept)
    except (TypeError, ValueError) as error:
        mistakes.append(f"{cls.__name__}.retention: {error}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Definition(name or cls.__name__, cls, most, period)
