"""What ``dev`` shows: bindings, states, output, errors with the user's frames, reloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moorings.cli.reporting.reporter import Restarted, count
from moorings.cli.reporting.screen import Screen, colour, shown
from moorings.cli.reporting.tracebacks import has_users_frames, users_traceback
from moorings.cli.reporting.writer import Writer
from moorings.containers.options import ContainerOptions
from moorings.errors import ContainerFailedToStart, MooringsError
from moorings.observer import ErrorReported, Event, Notice, OutputLine, StateChanged
from moorings.worker.loader import Application, NotLoaded

_STATE_STYLES = {"healthy": "green", "stopped": "dim", "stopped_with_code": "red", "stopping": "yellow"}
_NOTICE_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}


class HumanReporter:
    """Writes for the person who develops a worker."""

    def __init__(self, writer: Writer, screen: Screen) -> None:
        self._writer = writer
        self._screen = screen
        self._began: dict[str, float] = {}

    # --- events -------------------------------------------------------------------------------------------------------

    def notify(self, event: Event) -> None:
        """An event of the platform."""
        match event:
            case StateChanged():
                self._state(event)
            case OutputLine(subject, stream, line):
                self._screen.output(shown(subject.label), stream, line)
            case Notice(level, message, detail):
                style = _NOTICE_STYLES[level]
                self._screen.line(("" if level == "info" else f"{level}: ", style), (message, style))
                if detail:
                    self._screen.line((_indented(detail), "dim"))
            case ErrorReported(where, error, subject):
                about = "" if subject is None else f" of {shown(subject.label)}"
                self._error(f"error in {where}{about}: ", error)

    def _state(self, event: StateChanged) -> None:
        label = shown(event.subject.label)
        text = event.new
        began = self._began.get(event.subject.object_id)
        if event.new == "starting":
            self._began[event.subject.object_id] = event.at
        elif event.new == "healthy" and began is not None:
            text = f"healthy after {(event.at - began) * 1000:.0f} ms"
        elif event.new == "stopped_with_code":
            text = f"ended with exit code {event.exit_code}"
        if event.new.startswith("stopped"):
            self._began.pop(event.subject.object_id, None)
        self._screen.line((f"{label} ", colour(label)), (text, _STATE_STYLES.get(event.new, "")))

    def _error(self, headline: str, error: BaseException) -> None:
        cause = error.__cause__ if isinstance(error, NotLoaded) and error.__cause__ is not None else error
        if isinstance(cause, MooringsError) and not has_users_frames(cause):
            self._screen.line((headline, "bold red"), (str(cause) or type(cause).__name__, ""))
        else:
            self._screen.line((headline, "bold red"))
            self._screen.line((_indented(users_traceback(cause)), ""))
        if isinstance(cause, ContainerFailedToStart) and cause.output:
            self._screen.line((_indented("\n".join(("its last output:", *cause.output))), "dim"))

    # --- the run ------------------------------------------------------------------------------------------------------

    def bound(self, app: Application, bindings: Mapping[str, str], variables: Sequence[str]) -> None:
        """What is new in ``env``."""
        for binding, class_name in bindings.items():
            what = f" ({describe(app.options.get(class_name))})" if class_name in app.objects else ""
            what = " (workflow)" if binding in app.workflows else what
            self._screen.line(("  env.", "dim"), (binding, "bold"), (f" → {class_name}{what}", ""))
        for name in variables:
            self._screen.line(("  env.", "dim"), (name, "bold"), (" (variable)", ""))

    def listening(self, url: str, app: Application) -> None:
        """It serves."""
        self._screen.line(("Listening on ", ""), (url, "bold underline"), (" (Ctrl-C stops it)", "dim"))

    def reloaded(self, what: str, took: float, restarted: Sequence[Restarted]) -> None:
        """A new version serves."""
        items = ", ".join(f"{shown(item.subject.label)} ({item.reason})" for item in restarted)
        tail = f"; restarted: {items}" if items else ""
        self._screen.line((f"reloaded {what} in {took * 1000:.0f} ms{tail}", "cyan"))

    def not_reloaded(self, what: str, error: BaseException) -> None:
        """The old version keeps serving."""
        self._error(f"{what} does not load, the old version keeps serving: ", error)

    def stopping(self, running: int, containers_too: bool) -> None:
        """It was asked to stop."""
        doing = f"stopping {count(running, 'container')}" if containers_too and running else "stopping"
        self._screen.line((f"{doing}; Ctrl-C again to {'kill them' if running else 'end'} at once", "yellow"))

    def hurrying(self) -> None:
        """It was asked again."""
        self._screen.line(("killing what is left", "yellow"))

    def stopped(self, running: int) -> None:
        """It has stopped."""
        left = f"; {count(running, 'container')} left running" if running else ""
        self._screen.line((f"stopped{left}", ""))

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


def describe(options: ContainerOptions | None) -> str:
    """``container, port 3000, sleeps after 30m``, or ``durable object`` where there are no options."""
    if options is None:
        return "durable object"
    ports = options.start.ports
    where = f"port{'' if len(ports) == 1 else 's'} {', '.join(map(str, ports))}" if ports else "no port"
    return f"container, {where}, sleeps after {duration(options.sleep_after)}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that leaves a whole number: ``30m``, ``1h``, ``90s``, ``0.5s``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
