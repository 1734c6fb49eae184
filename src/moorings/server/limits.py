"""How many files the process may have open: a connection is one, and each request may need two."""

from __future__ import annotations

import resource

from moorings.observer import Notice, Observer

MOST = 1_048_576
"""Files that are enough for anybody; more only makes programs slow that close all there may be."""


def raise_open_files(observer: Observer) -> None:
    """Raise the soft limit of open files to the hard one, ``MOST`` at most. Where that fails it is told, and left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        observer.notify(Notice("debug", f"the limit of open files stays at {soft}: {error}"))
