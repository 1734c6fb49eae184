"""Errors as they are recorded, and raised again.

A step that has failed raises the same error in every replay, so code that catches it takes the same way each time. It
is therefore made from what was recorded, the first time too: its class is looked up by name, among Python's own errors,
Moorings' and those of the worker's file; where that isn't possible it is a StepFailed.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorings import errors
from moorings.errors import MooringsError, StepFailed, known_as
from moorings.objects.values import register_record

_LONGEST = 16_384


@register_record
@dataclass(frozen=True, slots=True)
class WorkflowFailure:
    """What an error was: the name of its class, and its message."""

    name: str
    message: str


def record(error: BaseException) -> str:
    """An error as JSON."""
    document: dict[str, Any] = {"name": known_as(error), "message": _message(error)}
    arguments = _arguments(error)
    if all(type(argument) in (str, int, float, bool, type(None)) for argument in arguments):
        document["args"] = [each[:_LONGEST] if isinstance(each, str) else each for each in arguments]
    if isinstance(error, MooringsError):
        document["code"] = error.code
    return json.dumps(document)


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """What it was made from. Of an OSError, ``args`` leaves the files out."""
    if not isinstance(error, OSError) or error.filename is None:
        return error.args
    second = () if error.filename2 is None else (None, error.filename2)
    return (error.errno, error.strerror, error.filename, *second)


def _message(error: BaseException) -> str:
    """Its message as a text that anybody can be told: half of a surrogate pair becomes its escape."""
    return str(error)[:_LONGEST].encode(errors="backslashreplace").decode()


def shown(recorded: str) -> WorkflowFailure:
    """A recorded error, for whoever looks at it."""
    document = json.loads(recorded)
    return WorkflowFailure(document["name"], document["message"])


def code_of(recorded: str) -> str:
    """The stable code of a recorded error; empty where it is none of Moorings' own."""
    return str(json.loads(recorded).get("code", ""))


def raised_again(recorded: str, *, step: str, names: Mapping[str, Any]) -> Exception:
    """The error to raise for a step that has failed; ``names`` are those of the worker's file."""
    document = json.loads(recorded)
    cls = _class(document["name"], names)
    if cls is not None and "args" in document:
        try:
            error = cls(*document["args"])
            if _message(error) == document["message"]:
                return error
        except Exception:  # noqa: BLE001  # a constructor that wants something else
            cls = None
    return StepFailed(f"the step {step!r} failed: {document['name']}: {document['message']}")


def _class(name: str, names: Mapping[str, Any]) -> type[Exception] | None:
    for place in (names, vars(errors), vars(builtins)):
        cls = place.get(name)
        if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, StopIteration):
            return cls
    return None
