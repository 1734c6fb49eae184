"""What the user's worker prints and logs, as lines of the platform's own log.

``serve`` promises one JSON object a line on standard output: a ``print`` in a worker must not break that. While
``captured`` holds, ``sys.stdout``, ``sys.stderr`` and the root logger lead to the reporter. What a library of another
language writes to the file descriptors is out of reach.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Literal, Protocol

LONGEST_LINE = 16 * 1024
"""Characters after which a line that hasn't ended is handed on in pieces."""


class Log(Protocol):
    """Takes what was captured. Called from any thread; doesn't raise and doesn't block."""

    def printed(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        """The worker printed a line."""

    def logged(self, record: logging.LogRecord) -> None:
        """Something was logged with Python's ``logging``."""


class _Lines(io.TextIOBase):
    """A text stream that hands on lines."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            while len(self._rest) > LONGEST_LINE:
                lines.append(self._rest[:LONGEST_LINE])
                self._rest = self._rest[LONGEST_LINE:]
        for line in lines:
            self._take(line)
        return len(text)

    def finish(self) -> None:
        """Hand on the last line, where it has no end."""
        with self._lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._take(rest)


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.logged(record)


@contextmanager
def captured(log: Log) -> Iterator[None]:
    """Lead what is printed and logged (from INFO on) to ``log``."""
    out = _Lines(lambda line: log.printed("stdout", line))
    err = _Lines(lambda line: log.printed("stderr", line))
    root, handler = logging.getLogger(), _Handler(log)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        out.finish()
        err.finish()
        sys.stdout.flush()
