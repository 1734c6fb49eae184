"""Containers as local processes, parented by a small supervisor that outlives the platform.

The platform's side is in ``runtime``, the supervisor's starts in ``supervisor``; both share ``wire``, ``paths`` and
``proc``. The supervisor imports this package too, so the names below are loaded on first use, and nothing that the
supervisor imports may import asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moorings.runtimes.process.runtime import ProcessRuntime, ProcessSettings

__all__ = ["ProcessRuntime", "ProcessSettings"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from moorings.runtimes.process import runtime

    return getattr(runtime, name)
