"""What users' code raises that must not travel as it is.

``SystemExit`` and ``KeyboardInterrupt`` end the event loop where a task's coroutine lets them out, ``StopIteration``
cannot be set on a future, and nothing above catches other ``BaseException``s: each would take down more than the call
that raised it. An error whose own ``str()`` raises can be neither told nor recorded. Invariant: whatever leaves user
code for the platform is an ``Exception`` that has a message, or a cancellation.
"""

from __future__ import annotations

import asyncio
from typing import Final

from moorings.errors import WorkerError

ORDINARY: Final = (Exception, asyncio.CancelledError, GeneratorExit)
"""What may leave a coroutine as it is: errors, a cancellation, and its closing."""


def contained(error: BaseException, what: str) -> Exception:
    """``error`` in a form that a future holds and an ``except Exception`` takes; ``what`` says whose code raised it.

    StopIteration becomes RuntimeError (PEP 479); what is no Exception, or has no message, becomes WorkerError. The
    original is the cause.
    """
    contained: Exception
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - the user's code
        kind = type(error).__name__
        contained = WorkerError(f"{what} raised {kind}, whose message can't be had: str() raised {broken!r}")
        contained.__cause__ = error
        return contained
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    if isinstance(error, StopIteration):
        contained = RuntimeError(f"{what} raised StopIteration")
    elif isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        contained = WorkerError(f"{what} called sys.exit({code}); the platform goes on, only this call has failed")
    else:
        contained = WorkerError(f"{what} raised {type(error).__name__}: {message}")
    contained.__cause__ = error
    return contained
