"""Calls of an object's own methods at a later time: any number of them, each a row that outlives the platform.

Source: developers.cloudflare.com/containers/container-package/#schedule
"""

from __future__ import annotations

import inspect
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from moorings.clock import Clock
from moorings.objects import timers
from moorings.objects.durable_object import HOOKS
from moorings.objects.pending import Done
from moorings.objects.storage import Storage
from moorings.objects.timers import TimerRow
from moorings.objects.values import decode, encode, register_record


@dataclass(frozen=True, slots=True)
class Schedule:
    """A call that is to be made: ``due`` is in Unix seconds, ``callback`` the method's name."""

    id: str
    callback: str
    payload: Any
    due: float


register_record(Schedule)


def due_time(when: object, clock: Clock) -> float:
    """When a schedule is due, in Unix seconds. Raises TypeError and ValueError."""
    if isinstance(when, datetime):
        return timers.checked(timers.seconds(when), when)
    if isinstance(when, timedelta):
        delay = when.total_seconds()
    elif isinstance(when, int | float) and not isinstance(when, bool):
        delay = float(when)
    else:
        raise TypeError(f"a call is scheduled in seconds from now, a timedelta or a datetime, not {when!r:.80}")
    if not math.isfinite(delay) or delay > 1e10:
        raise ValueError(f"a call is scheduled in seconds from now, not {when!r}; was it meant in milliseconds?")
    return clock.time() + max(0.0, delay)


def method_name(instance: object, callback: str | Callable[..., Any]) -> str:
    """The name of the method to call. Raises TypeError where the object's class has no such method, or it is a hook."""
    name = callback if isinstance(callback, str) else getattr(callback, "__name__", repr(callback))
    if name in HOOKS or name.startswith("__") or not callable(getattr(type(instance), name, None)):
        raise TypeError(f"schedule() calls a method of {type(instance).__name__}; it has no {name!r} to call")
    return name


def add(storage: Storage, clock: Clock, instance: object, when: object, callback: Any, payload: Any) -> Done[Schedule]:
    """Schedule a call; it takes effect at once, the result may be awaited or dropped."""
    name = method_name(instance, callback)
    schedule = Schedule(secrets.token_hex(8), name, payload, due_time(when, clock))
    encoded = encode(payload, what=f"the payload of the scheduled {name}")
    storage.write_timer(timers.set_schedule(storage.owner, schedule.id, schedule.due, name, encoded), schedule.due)
    return Done(schedule)


def cancel(storage: Storage, schedule_id: str) -> Done[None]:
    """Take a call back; nothing happens where it was made already."""
    storage.write_timer(timers.delete_schedule(storage.owner, schedule_id), None)
    return Done(None)


async def pending(storage: Storage) -> list[Schedule]:
    """The calls that are still to be made, the earliest first."""
    return [
        Schedule(row.id, row.callback, None if row.payload is None else decode(row.payload), row.due)
        for row in await storage.schedules()
    ]


def call(instance: Any, row: TimerRow) -> Any:
    """Make a scheduled call: the payload is passed to a method that takes one."""
    method = getattr(instance, row.callback)
    payload = None if row.payload is None else decode(row.payload)
    try:
        inspect.signature(method).bind(payload)
    except TypeError:
        return method()
    return method(payload)
