"""The log of ``serve``: one JSON object a line: ``time`` (UTC), ``level``, ``message`` and the event's own fields."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from moorings.cli.reporting.reporter import Restarted, count
from moorings.cli.reporting.tracebacks import users_traceback
from moorings.cli.reporting.writer import Writer
from moorings.clock import Clock
from moorings.errors import ContainerFailedToStart, MooringsError, known_as
from moorings.observer import ErrorReported, Event, Notice, OutputLine, StateChanged, Subject
from moorings.worker.loader import Application


class JsonReporter:
    """Writes each event as a line of JSON."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    def notify(self, event: Event) -> None:
        """An event of the platform."""
        match event:
            case StateChanged(subject, old, new, exit_code, at):
                level = "warning" if new == "stopped_with_code" else "info"
                ended = {"exit_code": exit_code} if new.startswith("stopped") else {}
                self._log(level, f"container {new}", at=at, state=new, was=old, **_about(subject), **ended)
            case OutputLine(subject, stream, line):
                self._log("info", "container output", stream=stream, line=line, **_about(subject))
            case Notice(level, message, detail):
                fields: dict[str, Any] = {"detail": detail} if detail else {}
                self._log(level, message, **fields)
            case ErrorReported(where, error, subject):
                self._log("error", f"{where}: {error}", **_error(error), **({} if subject is None else _about(subject)))

    def printed(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        """The worker printed a line."""
        self._log("info", "worker output", stream=stream, line=line)

    def logged(self, record: logging.LogRecord) -> None:
        """The worker, or a library of its, logged something."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info is not None and record.exc_info[1] is not None:
            fields |= _error(record.exc_info[1])
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # the arguments don't fit the format
            message = f"{record.msg} {record.args}"
        self._log(record.levelname.lower(), message, at=record.created, **fields)

    def bound(self, app: Application, bindings: Mapping[str, str], variables: Sequence[str]) -> None:
        """What is in ``env``."""
        self._log("info", "bound", bindings=dict(bindings), variables=list(variables))

    def listening(self, url: str, app: Application) -> None:
        """It serves."""
        self._log("info", "listening", url=url, file=str(app.file))

    def reloaded(self, what: str, took: float, restarted: Sequence[Restarted]) -> None:
        """A new version serves."""
        labels = [item.subject.label for item in restarted]
        self._log("info", "reloaded", file=what, milliseconds=round(took * 1000), restarted=labels)

    def not_reloaded(self, what: str, error: BaseException) -> None:
        """The old version keeps serving."""
        self._log("error", "not reloaded: the old version keeps serving", file=what, **_error(error))

    def stopping(self, running: int, containers_too: bool) -> None:
        """It was asked to stop."""
        fate = "stopping" if containers_too else "keeping"
        self._log("info", f"finishing requests in flight, {fate} {count(running, 'container')}", containers=running)

    def hurrying(self) -> None:
        """It was asked again."""
        self._log("warning", "cutting off requests in flight")

    def stopped(self, running: int) -> None:
        """It has stopped."""
        self._log("info", "stopped", containers_left_running=running)

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()

    def _log(self, level: str, message: str, *, at: float | None = None, **fields: Any) -> None:
        time = datetime.fromtimestamp(self._clock.time() if at is None else at, UTC)
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": stamp, "level": level, "message": message, **fields}
        try:
            line = msgspec.json.encode(entry).decode()
        except UnicodeEncodeError:  # half of a surrogate pair, in a text of the user's
            line = json.dumps(entry)
        self._writer.write(line + "\n")


def _about(subject: Subject) -> dict[str, Any]:
    return {
        "container": subject.label,
        "class": subject.class_name,
        "name": subject.name,
        "object_id": subject.object_id,
    }


def _error(error: BaseException) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "error": known_as(error),
        "code": error.code if isinstance(error, MooringsError) else "worker_error",
        "traceback": users_traceback(error),
    }
    if isinstance(error, ContainerFailedToStart):
        fields |= {"exit_code": error.exit_code, "output": list(error.output)}
    return fields
