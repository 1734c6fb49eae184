"""Tracebacks as a user wants them: the user's frames, not the platform's.

Frames of the platform and of the import machinery are left out wherever others remain; where none do, the fault is the
platform's and all are shown. A SyntaxError needs no frames: it names its place itself.
"""

from __future__ import annotations

from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException

import moorings

_PLATFORM = f"{Path(moorings.__file__).parent}/"


def users_traceback(error: BaseException) -> str:
    """The traceback of ``error`` and of its causes, without the platform's frames; no line end at the end."""
    report = TracebackException.from_exception(error)
    _shorten(report)
    return "".join(report.format()).rstrip()


def has_users_frames(error: BaseException) -> bool:
    """Whether code other than the platform's took part in raising ``error``."""
    return any(_is_users(frame) for frame in TracebackException.from_exception(error).stack)


def _is_users(frame: FrameSummary) -> bool:
    return not frame.filename.startswith((_PLATFORM, "<frozen importlib"))


def _shorten(report: TracebackException) -> None:
    kept = [frame for frame in report.stack if _is_users(frame)]
    if kept or hasattr(report, "offset"):
        report.stack = StackSummary.from_list(kept)
    for linked in (report.__cause__, report.__context__, *(report.exceptions or ())):
        if linked is not None:
            _shorten(linked)
